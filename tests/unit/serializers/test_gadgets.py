"""Known deserialisation gadgets against every serializer: none runs, each is refused or plain data."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import cachecore
from cachecore.contract.errors import EncodingError
from cachecore.contract.options import MIB
from cachecore.contract.protocols import EntryContext, Serializer
from cachecore.encoding.plain import check_plain
from cachecore.serializers.compressed import CompressedSerializer
from cachecore.serializers.encrypted import EncryptedSerializer
from cachecore.serializers.json import JsonSerializer
from cachecore.serializers.msgpack import MsgpackSerializer
from cachecore.serializers.typed import TypedSerializer
from tests.unit.serializers.answers import Answer, Model, Struct
from tests.unit.serializers.contexts import context
from tests.unit.serializers.gadgets import CANARY, GADGETS

_WATCHED = frozenset(
    {"os.system", "subprocess.Popen", "os.posix_spawn", "os.exec", "os.fork", "exec", "compile", "import", "open"}
    | {"pickle.find_class", "marshal.loads", "socket.connect", "shutil.rmtree", "webbrowser.open", "pty.spawn"}
)
_armed = False
_seen: list[str] = []


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if _armed and event in _WATCHED:
        _seen.append(event)


sys.addaudithook(_audit)


@contextmanager
def watched() -> Iterator[list[str]]:
    """Collect what the interpreter itself reports while gadgets are read: whatever runs code passes one of these."""
    global _armed
    _seen.clear()
    _armed = True
    try:
        yield _seen
    finally:
        _armed = False


class Raw:
    """A serializer of bytes as they are, by which gadgets get into wrapped payloads."""

    def __init__(self, name: str) -> None:
        self.name = name

    def dumps(self, value: Any, context: EntryContext) -> bytes:
        assert type(value) is bytes
        return value

    def loads(self, data: bytes, context: EntryContext) -> bytes:
        return data


RING = {"k": bytes(range(32))}
PLAIN: list[tuple[Serializer, Serializer]] = []
for _inner in (MsgpackSerializer(), JsonSerializer()):
    _raw = Raw(_inner.name)
    PLAIN += [
        (_inner, _raw),
        (CompressedSerializer(inner=_inner, min_bytes=0), CompressedSerializer(inner=_raw, min_bytes=0)),
        (EncryptedSerializer(inner=_inner, keys=RING), EncryptedSerializer(inner=_raw, keys=RING)),
    ]
TYPED = [TypedSerializer(value_type=value_type) for value_type in (Answer, Struct, Model, list[Answer])]


def test_there_are_enough_gadgets() -> None:
    assert len(GADGETS) >= 100


@pytest.mark.parametrize(("reader", "writer"), PLAIN, ids=lambda serializer: serializer.name)
def test_no_gadget_runs(reader: Serializer, writer: Serializer) -> None:
    """Given as they are and in the wrappings that a serializer opens."""
    made = context()
    for gadget in GADGETS.values():
        for payload in (gadget, writer.dumps(gadget, made)):
            with watched() as ran:
                try:
                    value = reader.loads(payload, made)
                except EncodingError:
                    continue
                finally:
                    assert ran == []
            check_plain(value, MIB)
    assert not CANARY.exists()


@pytest.mark.parametrize("reader", TYPED, ids=repr)
def test_no_gadget_is_a_value_of_a_type(reader: Serializer) -> None:
    made = context()
    for gadget in GADGETS.values():
        with watched() as ran:
            with pytest.raises(EncodingError):
                reader.loads(gadget, made)
            assert ran == []
    assert not CANARY.exists()


def test_the_watch_sees_what_runs() -> None:
    with watched() as ran:
        exec("1")
    assert "exec" in ran


def test_nothing_imports_what_can_run_stored_code() -> None:
    """No module of the core names pickle, marshal, shelve, dill or yaml, nor calls eval or exec.

    But for one call: it compiles the parameters of a cached function, whose source the program itself is.
    """
    forbidden = ("import pickle", "import marshal", "import shelve", "import dill", "import yaml", "eval(", "exec(")
    root = Path(cachecore.__file__).parent
    for path in root.rglob("*.py"):
        text = path.read_text()
        if path.relative_to(root) == Path("api/compiled_calls.py"):
            assert text.count("exec(compile(source, ") == text.count("exec(") == 1
            text = text.replace("exec(compile(source, ", "")
        assert not [word for word in forbidden if word in text], path.relative_to(root)
