"""Payloads that claim or become far more than they are. Made when asked for: together they are a hundred megabytes."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

import zstandard

from cachecore.contract.options import MIB
from tests.unit.serializers.answers import Answer, Model

Bombs = Mapping[str, Callable[[], bytes]]


def array(count: int) -> bytes:
    return b"\xdd" + struct.pack(">I", count)


def frame(data: bytes, **options: Any) -> bytes:
    return zstandard.ZstdCompressor(**options).compress(data)


def unsized(data: bytes) -> bytes:
    writer = zstandard.ZstdCompressor().compressobj()
    return writer.compress(data) + writer.flush()


def lying(size: int) -> bytes:
    data = frame(b"a" * 100_000)
    return data.replace((100_000).to_bytes(4, "little"), size.to_bytes(4, "little"), 1)


MSGPACK_BOMBS: Bombs = {
    "ten megabytes of empty maps": lambda: array(10_000_000) + b"\x80" * 10_000_000,
    "eight megabytes of empty maps": lambda: array(8_000_000) + b"\x80" * 8_000_000,
    "empty maps, spread over arrays": lambda: array(800) + (array(10_000) + b"\x80" * 10_000) * 800,
    "empty maps, spread over small arrays": lambda: array(100_000) + (b"\x9f" + b"\x80" * 15) * 100_000,
    "four gigabytes claimed": lambda: array(2**32 - 1),
    "four billion pairs claimed": lambda: b"\xdf\xff\xff\xff\xff",
    "four gigabytes of text claimed": lambda: b"\xdb\xff\xff\xff\xff" + b"a" * 300_000,
    "claims within claims": lambda: (array(65_535) * 500).ljust(300_000, b"\xc0"),
    "deep": lambda: b"\x91" * 1_000_000 + b"\xc0",
    "deep and small": lambda: b"\x91" * 100_000 + b"\xc0",
    "goes on after its end": lambda: b"\xdb\x00\x04\x00\x00" + b"a" * 262_144 + b"\xc0",
    "unused byte": lambda: array(300_000) + b"\xc1" * 300_000,
}

JSON_BOMBS: Bombs = {
    "empty objects": lambda: b"[" + b"{}," * 2_600_000 + b"0]",
    "empty arrays spread": lambda: b"[" + b"[[],[],[],[],[],[]]," * 400_000 + b"0]",
    "numbers": lambda: b"[" + b"0," * 4_000_000 + b"0]",
    "deep": lambda: b"[" * 4_000_000 + b"]" * 4_000_000,
    "deep objects": lambda: b'{"a":' * 100_000 + b"0" + b"}" * 100_000,
    "a little too deep": lambda: b"[" * 300 + b"]" * 300,
    "empty objects behind an open string": lambda: b'["' + b"," * 300_000 + b'", ' + b"{}," * 300_000 + b"0]",
    "empty strings": lambda: b"[" + b'"",' * 2_700_000 + b"0]",
    "strings of commas": lambda: b"[" + b'",",' * 2_000_000 + b"0]",
    "one string of backslashes": lambda: b'["' + b"\\" * 7_000_000 + b'", ' + b"{}," * 300_000 + b"0]",
    "strings of backslashes": lambda: b"[" + b'"\\\\",' * 1_600_000 + b"0]",
    "a quarter million strings, then objects": lambda: b"[" + b'",",' * 260_000 + b"{}," * 2_000_000 + b"0]",
    "unending string": lambda: b'"' + b'\\"' * 4_000_000,
}

ZSTD_BOMBS: Bombs = {
    # The library's own bound is ignored for a frame that names its size.
    "a quarter of a gigabyte in 8 KiB": lambda: b"\x01" + frame(bytes(256 * MIB)),
    "size not said": lambda: b"\x01" + unsized(bytes(64 * MIB)),
    "says more than it is": lambda: b"\x01" + lying(8 * MIB),
    "skippable frame of four gigabytes": lambda: b"\x01\x50\x2a\x4d\x18\xff\xff\xff\xff",
    "huge window": lambda: b"\x01\x28\xb5\x2f\xfd\x80\xf8" + (1000).to_bytes(4, "little") + b"\x01\x00\x00",
    # What inflates to a legitimate size may still be eight million empty maps.
    "a bomb for the inner serializer": lambda: b"\x01" + frame(array(8_000_000) + b"\x80" * 8_000_000),
}

TYPED_BOMBS: Mapping[str, tuple[Any, Callable[[], bytes]]] = {
    "empty maps for a list of dicts": (list[dict[str, int]], lambda: array(8_000_000) + b"\x80" * 8_000_000),
    "empty maps for a dataclass": (Answer, lambda: array(8_000_000) + b"\x80" * 8_000_000),
    "empty maps for a dict": (dict[str, Any], lambda: array(8_000_000) + b"\x80" * 8_000_000),
    "deep for a list of dicts": (list[dict[str, int]], lambda: b"\x91" * 500_000),
    "deep for a dataclass": (Answer, lambda: b"\x91" * 500_000),
    "deep for a dict": (dict[str, Any], lambda: b"\x91" * 500_000),
    "empty objects for a list of models": (list[Model], lambda: b"[" + b"{}," * 2_000_000 + b"{}]"),
    "deep for a model": (Model, lambda: b'{"inner":' * 100_000),
}
