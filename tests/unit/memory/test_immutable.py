"""Which values are handed to several callers without a copy."""

from __future__ import annotations

import datetime
import decimal
import enum
import uuid
from collections import namedtuple
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from cachecore.memory.immutable import is_immutable


class Colour(enum.Enum):
    RED = "red"


@dataclass(frozen=True, slots=True)
class Frozen:
    value: Any


@dataclass(frozen=True)
class FrozenWithDict:
    value: Any


@dataclass(slots=True)
class Thawed:
    value: Any


class FrozenStruct(msgspec.Struct, frozen=True):
    value: Any


class Struct(msgspec.Struct):
    value: Any


class Text(str):  # noqa: SLOT000 - that it has a dict is the point
    """Can carry anything in its dict."""


class Pair(tuple[Any, ...]):  # noqa: SLOT001 - that it has a dict is the point
    """Can carry anything in its dict."""


Named = namedtuple("Named", ["value"])  # noqa: PYI024 - the shape of a value, not of our code


@pytest.mark.parametrize(
    "value",
    [
        "text", b"bytes", 1, 1.5, True, None, 1j, uuid.uuid4(), decimal.Decimal(1), Colour.RED,
        datetime.datetime.now(datetime.UTC), datetime.date(2026, 1, 1), datetime.time(1), datetime.timedelta(1),
        (), (1, "a", (None,)), frozenset({1}), Frozen(1), Frozen((1, Frozen("a"))), FrozenStruct("a"),
    ],
)  # fmt: skip
def test_what_nobody_can_change(value: Any) -> None:
    assert is_immutable(value)


@pytest.mark.parametrize(
    "value",
    [
        [], {}, set(), bytearray(b"a"), memoryview(b"a"), object(), ([],), (1, (2, {})), Frozen([1]), Frozen((1, {})),
        FrozenWithDict(1), Thawed(1), FrozenStruct([]), Struct(1), Text("a"), Pair((1,)), Named(1), Named([]), len,
        int, iter(()), Exception("a"),
    ],
)  # fmt: skip
def test_what_somebody_might_change(value: Any) -> None:
    assert not is_immutable(value)


def test_deep_values_are_doubted_and_not_followed_for_ever() -> None:
    value: Any = ()
    for _ in range(100_000):
        value = (value,)
    assert not is_immutable(value)
    del value


@dataclass(frozen=True, slots=True)
class Hidden:
    shown: int
    kept: list[int] = field(default_factory=list, repr=False, compare=False)


def test_every_field_counts() -> None:
    assert not is_immutable(Hidden(1))
