"""`extended`: the values that Python programs keep beside plain data come back equal, type for type, or are refused."""

from __future__ import annotations

import collections
import datetime
import decimal
import math
import uuid
import zoneinfo
from typing import Any

import ormsgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachecore import Cache
from cachecore.contract.errors import EncodingError, OptionsError
from cachecore.serializers import ExtendedSerializer, Kind
from cachecore.serializers.exact import same
from tests.unit.serializers.contexts import assert_refused_cheaply, context

EXTENDED = ExtendedSerializer()
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.complex_numbers(allow_nan=False),
    st.text(),
    st.binary(),
    st.dates(),
    st.timedeltas(),
    st.datetimes(timezones=st.none() | st.just(datetime.UTC) | st.just(BERLIN)),
    st.times(),
    st.decimals(allow_nan=False),
    st.uuids(),
    st.frozensets(st.integers() | st.text()),
)
KEYS = st.text() | st.integers() | st.tuples(st.integers(), st.text()) | st.booleans() | st.none()
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner) | st.dictionaries(KEYS, inner) | st.lists(inner).map(tuple) | st.sets(st.text() | st.integers())
    ),
)


class Text(str):
    __slots__ = ()


class Colour:
    def __init__(self, name: str) -> None:
        self.name = name


COLOUR = Kind(64, "colour", Colour, lambda value: value.name, Colour)


def round_trip(value: Any, serializer: ExtendedSerializer = EXTENDED) -> Any:
    return serializer.loads(serializer.dumps(value, context()), context())


@given(VALUES)
def test_values_come_back_as_they_were(value: Any) -> None:
    assert same(value, round_trip(value))


@pytest.mark.parametrize(
    "value",
    [
        (1, [2, (3, {"four": (5,)})]),
        {1: "a", "b": {2: (3,)}},
        [{(1, "x"): {datetime.date(2024, 2, 29)}}],
        2**64, -(2**200), [2**70],
        datetime.datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=BERLIN),
        datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=-3.5))),
        datetime.time(1, 2, 3, 4, tzinfo=datetime.UTC),
        decimal.Decimal("1.10"), decimal.Decimal("-0"), uuid.UUID(int=7), complex(0.0, -0.0), {"n": -0.0},
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_each_kind(value: Any) -> None:
    assert same(value, round_trip(value))
    if isinstance(value, datetime.datetime):
        assert round_trip(value).tzinfo == value.tzinfo


def test_nan_keeps_its_bits() -> None:
    assert math.isnan(round_trip((math.nan,))[0])


@pytest.mark.parametrize(
    "value",
    [
        Text("a"), [Text("a")], (bytearray(b"a"),), {"a": memoryview(b"a")}, object(), len, Colour, Colour("red"),
        collections.OrderedDict(a=1), collections.Counter("a"), {1: object()}, [range(3)],
        datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=1), "CET")),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_all_else_is_refused(value: Any) -> None:
    with pytest.raises(EncodingError):
        EXTENDED.dumps(value, context())


def test_a_value_that_holds_itself_or_is_too_deep_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    deep: Any = ()
    for _ in range(40):
        deep = (deep,)
    odd: dict[Any, Any] = {}
    odd[1] = odd
    for value in (endless, (endless,), deep, odd):
        with pytest.raises(EncodingError):
            EXTENDED.dumps(value, context())


def test_a_kind_of_the_program() -> None:
    serializer = ExtendedSerializer([COLOUR])
    assert serializer.name == "extended+colour"
    assert [one.name for one in round_trip((Colour("red"), Colour("blue")), serializer)] == ["red", "blue"]
    with pytest.raises(EncodingError):  # its number means nothing to others
        EXTENDED.loads(serializer.dumps(Colour("red"), context()), context())


@pytest.mark.parametrize("kinds", [[COLOUR, Kind(64, "b", Text, str, Text)], [Kind(1, "mine", Text, str, Text)]])
def test_codes_that_are_taken_are_refused(kinds: list[Kind]) -> None:
    with pytest.raises(OptionsError, match="64 to 127"):
        ExtendedSerializer(kinds)


@given(st.binary(max_size=64))
def test_other_bytes_are_refused_or_plain(data: bytes) -> None:
    try:
        EXTENDED.loads(data, context())
    except EncodingError:
        pass


def _nested(depth: int) -> bytes:
    data = b"\x90"
    for _ in range(depth):
        data = ormsgpack.packb(ormsgpack.Ext(1, data))
    return data


PART = b"\xdd" + (250_000).to_bytes(4) + b"\x80" * 250_000
BOMBS = {
    "deep": _nested(200_000 // 6),
    "claimed": ormsgpack.packb(ormsgpack.Ext(1, b"\xdd\xff\xff\xff\xff")),
    "many": ormsgpack.packb([ormsgpack.Ext(1, PART)] * 30),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_are_refused_before_they_take_memory(bomb: str) -> None:
    if bomb == "many":  # one part of it is within the bounds and is made: 16 MiB of empty dicts
        with pytest.raises(EncodingError, match="elements"):
            EXTENDED.loads(BOMBS[bomb], context())
    else:
        assert_refused_cheaply(EXTENDED.loads, BOMBS[bomb])


def test_too_many_elements_are_refused_when_written() -> None:
    small = ExtendedSerializer(max_elements=100)
    assert round_trip(([1] * 40, [2] * 40), small) == ([1] * 40, [2] * 40)
    with pytest.raises(EncodingError, match="elements"):
        small.dumps(([1] * 60, [2] * 60), context())


async def test_by_name() -> None:
    async with Cache("memory://", ttl=60, serializer="extended") as cache:
        assert await cache.set("q", (1, {2}))
        assert await cache.get("q") == (1, {2})
