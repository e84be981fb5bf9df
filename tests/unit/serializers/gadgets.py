"""Bytes that make deserialisers of other kinds run what they name, were anything here to understand them.

Each would create the file `CANARY` or end the process. They are written by hand: nothing here imports what reads them.
"""

from __future__ import annotations

import json
import os
import struct
import tempfile
from pathlib import Path
from typing import Any

import ormsgpack

# One for each process, so that none removes the file which a gadget in another has made.
CANARY = Path(tempfile.gettempdir()) / f"cachecore-gadget-was-executed-{os.getpid()}"
COMMAND = f"touch {CANARY}"
CODE = f"open({str(CANARY)!r}, 'w')"

_CALLS = [
    ("os", "system", COMMAND),
    ("posix", "system", COMMAND),
    ("nt", "system", COMMAND),
    ("subprocess", "getoutput", COMMAND),
    ("subprocess", "Popen", COMMAND),
    ("subprocess", "check_output", COMMAND),
    ("builtins", "eval", CODE),
    ("builtins", "exec", CODE),
    ("__builtin__", "eval", CODE),
    ("builtins", "__import__", "antigravity"),
    ("timeit", "timeit", CODE),
    ("pty", "spawn", COMMAND),
    ("runpy", "run_path", str(CANARY)),
    ("importlib", "import_module", "antigravity"),
    ("pickle", "loads", "."),
    ("marshal", "loads", "."),
    ("shutil", "rmtree", str(CANARY)),
    ("code", "interact", COMMAND),
    ("platform", "popen", COMMAND),
    ("webbrowser", "open", "file:///dev/null"),
]


def _protocol_0(module: str, name: str, argument: str) -> bytes:
    return f"c{module}\n{name}\n(S'{argument}'\ntR.".encode()


def _protocol_2(module: str, name: str, argument: str) -> bytes:
    text = argument.encode()
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + b"X" + struct.pack("<I", len(text)) + text + b"\x85R."


def _protocol_4(module: str, name: str, argument: str) -> bytes:
    def short(text: str) -> bytes:
        return b"\x8c" + bytes([len(text)]) + text.encode()

    body = short(module) + short(name) + b"\x93" + short(argument) + b"\x85R."
    return b"\x80\x04\x95" + struct.pack("<Q", len(body)) + body


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _extension(code: int, *named: str) -> bytes:
    """What LangGraph's serialiser and its like make: an extension that holds a module, a name and arguments."""
    return ormsgpack.packb(ormsgpack.Ext(code, ormsgpack.packb(list(named))))


GADGETS: dict[str, bytes] = {}
for _module, _name, _argument in _CALLS:
    GADGETS[f"protocol 0 {_module}.{_name}"] = _protocol_0(_module, _name, _argument)
    GADGETS[f"protocol 2 {_module}.{_name}"] = _protocol_2(_module, _name, _argument)
    GADGETS[f"protocol 4 {_module}.{_name}"] = _protocol_4(_module, _name, _argument)
for _code in (0, 1, 2, 3, 4, 5, 42, 127):
    GADGETS[f"msgpack extension {_code}"] = _extension(_code, "os", "system", COMMAND)
    GADGETS[f"msgpack extension {_code} within"] = b"\x81\xa1a" + _extension(_code, "builtins", "eval", CODE)
for _number, _yaml in enumerate(
    [
        f"!!python/object/apply:os.system ['{COMMAND}']",
        f"!!python/object/apply:subprocess.Popen [['touch', '{CANARY}']]",
        f"!!python/object/new:os.system ['{COMMAND}']",
        f"!!python/object/apply:builtins.eval ['{CODE}']",
        "!!python/name:os.system",
        "!!python/module:antigravity",
        "--- !ruby/object:Gem::Installer\ni: x",
        "&a [*a, *a]",
    ]
):
    GADGETS[f"yaml {_number}"] = _yaml.encode()
for _number, _tree in enumerate(
    [
        {"py/object": "os.system", "py/newargs": [COMMAND]},
        {"py/reduce": [{"py/type": "os.system"}, {"py/tuple": [COMMAND]}]},
        {"py/reduce": [{"py/function": "builtins.eval"}, {"py/tuple": [CODE]}, None, None, None]},
        {"py/repr": f"os/os.system('{COMMAND}')"},
        {"py/object": "subprocess.Popen", "py/initargs": [["touch", str(CANARY)]]},
        {"lc": 1, "type": "constructor", "id": ["os", "system"], "kwargs": {"command": COMMAND}},
        {"lc": 2, "type": "constructor", "id": ["builtins", "eval"], "method": [None], "args": [CODE]},
        {"__class__": "os.system", "__args__": [COMMAND]},
        {"__type__": "builtins.eval", "value": CODE},
        {"$type": "System.Diagnostics.Process", "StartInfo": {"FileName": COMMAND}},
        {"@type": "com.sun.rowset.JdbcRowSetImpl", "dataSourceName": "ldap://127.0.0.1/a"},
        {"nd": True, "type": "O", "kind": "O", "data": _protocol_0("os", "system", COMMAND).decode()},
        ["org.apache.xalan.xsltc.trax.TemplatesImpl", {"transletBytecodes": ["AAAA"]}],
        {"__reduce__": ["os.system", [COMMAND]]},
        {"__proto__": {"polluted": True}},
        {"_target_": "os.system", "_args_": [COMMAND]},
    ]
):
    GADGETS[f"json {_number}"] = _json(_tree)
    GADGETS[f"msgpack map {_number}"] = ormsgpack.packb(_tree)
GADGETS |= {
    "marshal code": b"\xe3" + bytes(20) + b"s\x04\x00\x00\x00d\x00S\x00",
    "java object": b"\xac\xed\x00\x05sr\x00\x11java.util.HashSet",
    "php object": b'O:8:"stdClass":1:{s:4:"file";s:1:"a";}',
    "xml entities": b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
    "binary plist": b"bplist00\xd1\x01\x02",
    "zip": b"PK\x03\x04\x14\x00\x00\x00\x08\x00",
    "numpy with objects": b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,)}",
}
