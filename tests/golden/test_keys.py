"""Keys are stable for ever: the bytes and digests of `k2` as they were when it was first released.

`keys.json` holds the vectors. To add one, write its request below and run

    python -m tests.golden.test_keys

which writes what is missing and refuses to change what is there. A vector that no longer matches means that every
entry stored so far can no longer be found: the encoding must then become `k3`, with vectors of its own.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import sys
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID

import attrs
import msgspec
import pydantic
import pytest

from cachecore.keys import VERSION, KeySpace, encode
from cachecore.keys.decoded import ClassSchema, Numpy, Pandas
from cachecore.keys.hashers import blake2b, blake3, sha256, xxh3_128
from cachecore.keys.walker import walk

VECTORS = Path(__file__).with_name("keys.json")
T = TypeVar("T")
UTC = timezone.utc  # noqa: UP017 - as it was written in the first vectors


class Role(enum.StrEnum):
    USER = "user"


class Mode(enum.Enum):
    BRIEF = enum.auto()
    LONG = enum.auto()


class Access(enum.Flag):
    READ = 1
    WRITE = 2


@dataclasses.dataclass
class Prompt:
    text: str
    temperature: float = 0.0

    @dataclasses.dataclass
    class Part:
        text: str


class Point(NamedTuple):
    y: int
    x: int


class Struct(msgspec.Struct, tag="struct"):
    b: int
    a: int | msgspec.UnsetType = msgspec.UNSET


@attrs.define
class Attrs:
    a: int


class Model(pydantic.BaseModel, extra="allow"):
    text: str


class Box(pydantic.BaseModel, Generic[T]):
    item: T


# The schema of a class is its library's, and may be another in a later version: only its form is a vector.
SCHEMA = ClassSchema("app.models", "City", {"type": "object", "properties": {"name": {"type": "string"}}})
NUMPY = [Numpy("<i8", None, bytes(8)), Numpy("<f4", (2, 1), bytes(8)), Numpy("<M8[ns]", None, bytes(8))]
PANDAS = [Pandas("Timestamp", "2026-01-02T03:04:05.000000006@0"), Pandas("NaTType", "")]


CHAT = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Où est ma carte ? 🍺"}],
    "temperature": 0.7,
    "max_tokens": 512,
    "stop": None,
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}],
}

REQUESTS: dict[str, Any] = {
    "none": None,
    "true": True,
    "zero": 0,
    "minus one": -1,
    "largest native integers": [2**64 - 1, -(2**63)],
    "big integers": [2**64, -(2**63) - 1, 2**200],
    "floats": [0.0, -0.0, 1.5, float("inf"), float("-inf"), float("nan"), -float("nan"), 5e-324],
    "texts": ["", "a", "é", "e\u0301", "\U00010000", "x" * 300],
    "bytes": [b"", bytearray(b"\x00\xff"), memoryview(b"abc")],
    "tuple": (1, (2,)),
    "fields in order of code points": {"b": 1, "a": 2, "\U00010000": 3, "\uffff": 4, "": 5},
    "sets": [set(), {1, "1", b"1"}, frozenset([(1, 2), frozenset([3])])],
    "enum": {Role.USER: Role.USER},
    "records": [Prompt("Hi"), Prompt.Part("Hi"), Point(1, 2), Struct(1), Struct(1, 2), Attrs(1)],
    "records within records": Prompt(Prompt("Hi", 1.0), {"a": [Attrs(Point(1, 2))]}),  # type: ignore[arg-type]  # any
    "models": [Model(text="Hi"), Model(text="Hi", min_p=0.1), Box[int](item=1), Box[Model](item=Model(text="a"))],  # type: ignore[call-arg]  # extras are allowed
    "members": [Mode.BRIEF, Mode.LONG, Access.READ, Access.READ | Access.WRITE, Access(0)],
    "class": SCHEMA,
    "other keys": [
        {2: "a", 1: "b", "1": "c", None: "d", b"1": "e", 0.5: "f", (1, (2,)): "g", Mode.LONG: "h"},
        {True: {1: 2}, False: {"a": 1}},
    ],
    "lone surrogates": ["\ud83c", "a\udf7a\ud83cb", {"\ud83c": 1, "a": 2}, PurePosixPath("a\udcff")],
    "numpy": NUMPY,
    "pandas": PANDAS,
    "uuid": UUID("12345678-1234-5678-1234-567812345678"),
    "decimals": [Decimal("1.10"), Decimal("-0"), Decimal("1E+30"), Decimal("NaN"), Decimal("-Infinity")],
    "dates": [date(2026, 1, 2), date(1, 1, 1)],
    "times": [time(1, 2, 3, 4), time(1, 2, fold=1), time(1, 2, tzinfo=UTC)],
    "datetimes": [
        datetime(2026, 1, 2, 3, 4, 5, 6),  # noqa: DTZ001 - naive ones have keys, too
        datetime(2026, 1, 2, 3, fold=1),  # noqa: DTZ001 - naive ones have keys, too
        datetime(2026, 1, 2, 3, tzinfo=UTC),
        datetime(2026, 1, 2, 3, tzinfo=timezone(timedelta(hours=-5, minutes=-30))),
    ],
    "durations": [timedelta(0), timedelta(days=-1, microseconds=1), timedelta(days=400)],
    "paths": [PurePosixPath("/a/b.txt"), PureWindowsPath("a\\b.txt")],
    "deep": [[[[{"a": [{"b": [[1]]}]}]]]],
    "chat": CHAT,
}


def _vector(request: Any) -> dict[str, str]:
    hashers = (sha256(), blake2b(secret=b"0123456789abcdef"), xxh3_128(), blake3())
    keys = {hasher.name: KeySpace("cc", "faq/v 3", hasher, shards=64).key(request) for hasher in hashers}
    return {"encoded": encode(request).hex(), **keys}


def _stored() -> dict[str, dict[str, str]]:
    vectors: dict[str, dict[str, str]] = json.loads(VECTORS.read_text())[VERSION]
    return vectors


@pytest.mark.parametrize("name", REQUESTS)
def test_bytes_and_keys_are_what_they_always_were(name: str) -> None:
    """A request stored by the first release is found by this one."""
    assert _vector(REQUESTS[name]) == _stored()[name]
    assert walk(REQUESTS[name]).hex() == _stored()[name]["encoded"]


def test_no_vector_was_taken_away() -> None:
    """Vectors are added, never removed."""
    assert set(_stored()) == set(REQUESTS)
    assert len(REQUESTS) >= 31


def add_missing() -> int:
    """Write the vectors that are not there yet; return how many of the others no longer match."""
    stored = _stored() if VECTORS.exists() else {}
    changed = [name for name, vector in stored.items() if _vector(REQUESTS[name]) != vector]
    if changed:
        sys.stderr.write(f"these vectors no longer match, which needs a new version of the encoding: {changed}\n")
        return len(changed)
    stored.update({name: _vector(request) for name, request in REQUESTS.items() if name not in stored})
    VECTORS.write_text(json.dumps({VERSION: stored}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(add_missing())
