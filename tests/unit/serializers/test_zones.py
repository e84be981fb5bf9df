"""A time comes back with its wall clock, its offset and its zone, or the value is refused."""

from __future__ import annotations

import dataclasses
from collections import deque
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachecore.contract.errors import EncodingError
from cachecore.serializers.exact import same
from cachecore.serializers.typed import TypedSerializer
from tests.unit.serializers.contexts import context

NIGHT = datetime.fromisoformat("2026-10-25T02:30")  # when summer ends in Paris, half past two comes twice
PARIS = ZoneInfo("Europe/Paris")
WINTER = datetime.fromisoformat("2026-03-01T09:00")


@dataclasses.dataclass(frozen=True)
class Meeting:
    at: datetime


class Appointment(pydantic.BaseModel):
    at: datetime


class Slot(msgspec.Struct):
    at: datetime


@attrs.frozen
class Visit:
    at: datetime


@dataclasses.dataclass(frozen=True)
class Opening:
    at: time


class Hours(pydantic.BaseModel):
    at: time


@dataclasses.dataclass(frozen=True)
class Many:
    days: frozenset[datetime]
    rest: dict[str, list[datetime]]


class Queue(pydantic.BaseModel):
    days: deque[datetime]


class Summer(tzinfo):
    """A zone of its own make."""

    def utcoffset(self, when: datetime | None) -> timedelta | None:
        return None if when is None else timedelta(hours=2 if when.month in range(4, 11) else 1)

    def dst(self, when: datetime | None) -> timedelta | None:
        return timedelta(0)

    def tzname(self, when: datetime | None) -> str:
        return "SUMMER"


ZONES = {
    "none": None,
    "utc": UTC,
    "UTC of zoneinfo": ZoneInfo("UTC"),
    "fixed": timezone(timedelta(hours=1)),
    "named": timezone(timedelta(hours=1), "CET"),
    "seconds": timezone(timedelta(minutes=9, seconds=21)),
    "Paris": PARIS,
    "Kolkata, which has one offset today": ZoneInfo("Asia/Kolkata"),
    "own": Summer(),
}
KEPT = {Meeting: {"none", "utc", "UTC of zoneinfo"}, Appointment: {"none", "utc", "UTC of zoneinfo", "fixed"}}


def _back(value: Any) -> Any:
    serializer = TypedSerializer(value_type=type(value))
    try:
        return serializer.loads(serializer.dumps(value, context()), context())
    except EncodingError:
        return None


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("kind", [Meeting, Appointment, Slot, Visit])
def test_kept_or_refused(kind: Any, zone: str) -> None:
    """What comes back shows the same on the clock, on that day and half a year later."""
    given_at = WINTER.replace(tzinfo=ZONES[zone])
    back = _back(kind(at=given_at))
    assert (back is not None) == (zone in KEPT.get(kind, KEPT[Meeting]))
    if back is not None:
        for days in (0, 60, 200):
            then, now = given_at + timedelta(days=days), back.at + timedelta(days=days)
            assert (then.replace(tzinfo=None), then.utcoffset()) == (now.replace(tzinfo=None), now.utcoffset())


@pytest.mark.parametrize(
    "value",
    [
        Meeting(NIGHT.replace(fold=1)),  # the second half past two of that night
        Opening(time(9, tzinfo=PARIS)),
        Hours(at=time(9, tzinfo=PARIS)),
        Many(frozenset({WINTER.replace(tzinfo=PARIS)}), {}),
        Many(frozenset(), {"x": [WINTER.replace(tzinfo=UTC), WINTER.replace(tzinfo=PARIS)]}),
        Queue(days=deque([WINTER.replace(tzinfo=PARIS)])),
    ],
)
def test_refused_wherever_it_is(value: Any) -> None:
    assert _back(value) is None


@pytest.mark.parametrize(
    "value",
    [
        Meeting(NIGHT),
        Opening(time(9, 30)),
        Hours(at=time(9, 30, tzinfo=UTC)),
        Many(frozenset({WINTER, WINTER.replace(tzinfo=UTC)}), {"x": [WINTER]}),
        Queue(days=deque([WINTER.replace(tzinfo=timezone(timedelta(hours=-5)))])),
    ],
)
def test_kept_wherever_it_is(value: Any) -> None:
    assert _back(value) == value


ANY_ZONE = st.sampled_from(list(ZONES.values()))


@given(
    st.datetimes(datetime.fromisoformat("1990-01-01"), datetime.fromisoformat("2040-01-01")),
    ANY_ZONE,
    st.booleans(),
    st.booleans(),
)
def test_what_is_kept_is_the_same_time_for_ever(when: datetime, zone: tzinfo | None, fold: bool, model: bool) -> None:
    moment = when.replace(tzinfo=zone, fold=fold)
    back = _back((Appointment if model else Meeting)(at=moment))
    if back is not None:
        assert back.at.isoformat() == moment.isoformat()
        assert back.at.fold == moment.fold
        for days in range(0, 400, 50):
            assert (back.at + timedelta(days)).isoformat() == (moment + timedelta(days)).isoformat()


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ({1}, {True}),
        (
            frozenset({WINTER.replace(tzinfo=UTC)}),
            frozenset({WINTER.replace(hour=10, tzinfo=timezone(timedelta(hours=1)))}),
        ),
        (deque([1]), deque([True])),
        (Decimal("1.0"), Decimal("1.00")),
        (WINTER.replace(tzinfo=PARIS), WINTER.replace(tzinfo=ZoneInfo("Europe/Berlin"))),
        (WINTER.replace(tzinfo=UTC), WINTER),
        (time(2, fold=1), time(2)),
    ],
)
def test_equal_is_not_the_same(written: Any, read: Any) -> None:
    assert not same(written, read)
    assert not same(read, written)
    assert same(written, written)
