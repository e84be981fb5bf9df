"""Are the answers right? Whole, typed, each caller's own, and none that has been removed or is over."""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import numpy
import openai
import pandas  # type: ignore[import-untyped]  # has no types of its own
import pydantic
import pytest
from starlette.responses import StreamingResponse

from cachecore import Cache, Computed
from cachecore.serializers import TypedSerializer
from tests.field.conftest import Opened


class Gate:
    """A factory that waits to be let through, and counts its calls."""

    def __init__(self, answer: Callable[[], Any]) -> None:
        self.answer = answer
        self.calls = 0
        self.entered = asyncio.Event()
        self.open = asyncio.Event()

    async def __call__(self) -> Any:
        self.calls += 1
        self.entered.set()
        await self.open.wait()
        return self.answer()


async def _together(cache: Cache[Any], call: Callable[[], Awaitable[Any]], gate: Gate, many: int = 3) -> list[Any]:
    """Return what `many` callers get who wait at the same time, for one computation or each for its own."""
    tasks = [asyncio.ensure_future(call()) for _ in range(many)]
    limit = time.monotonic() + 60
    while sum(flight.waiters for flights in cache._engine.state().flights._tasks.values() for flight in flights) < many:
        await asyncio.sleep(0.001)
        assert time.monotonic() < limit
    gate.open.set()
    return await asyncio.gather(*tasks, return_exceptions=True)


# What one caller has, no other has


async def test_streamed_response_is_whole_for_each_client(opened: Opened) -> None:
    cache = await opened()

    def respond() -> StreamingResponse:
        async def lines() -> AsyncIterator[bytes]:
            for number in range(3):
                yield b"line %d\n" % number

        return StreamingResponse(lines())

    async def body(gate: Gate) -> bytes:
        response = await cache.get_or_set("report", gate)
        return b"".join([bytes(chunk) async for chunk in response.body_iterator])

    for _ in range(2):  # the second time it is known that nobody can share
        gate = Gate(respond)
        assert await _together(cache, partial(body, gate), gate) == [b"line 0\nline 1\nline 2\n"] * 3


async def test_list_that_one_caller_changes_is_no_others(opened: Opened) -> None:
    cache, gate = await opened(), Gate(lambda: ["a"])
    for answer in await _together(cache, lambda: cache.get_or_set("q", gate), gate):
        assert answer == ["a"]
        answer.append("mine")
    assert gate.calls == 1
    assert await cache.get("q") == ["a"]


async def test_exception_is_each_callers_own(opened: Opened) -> None:
    """Of the kind that SDKs raise, whose constructors take other arguments than they keep."""
    response: Any = openai.DefaultHttpxClient().build_request("POST", "http://localhost/v1")

    def fail() -> None:
        error = openai.APITimeoutError(request=response)
        error.add_note("third attempt")
        raise error from ConnectionResetError("reset")

    cache, gate = await opened(), Gate(fail)
    failures = await _together(cache, lambda: cache.get_or_set("q", gate), gate, many=100)
    assert gate.calls == 1
    assert len({id(failure) for failure in failures}) == 100
    assert len({len(traceback.extract_tb(failure.__traceback__)) for failure in failures}) == 1
    for failure in failures:
        assert isinstance(failure, openai.APITimeoutError)
        assert (str(failure), failure.request, failure.__notes__) == ("Request timed out.", response, ["third attempt"])
        assert isinstance(failure.__cause__, ConnectionResetError)


# What is told apart, and what is not


@dataclasses.dataclass(frozen=True)
class FromUser:
    text: str


@dataclasses.dataclass(frozen=True)
class FromSystem:
    text: str


class Plan(enum.Enum):
    FREE = 1


class Level(enum.Enum):
    FREE = 1


async def test_equal_fields_of_two_classes_are_two_requests(opened: Opened) -> None:
    cache = await opened()

    @cache.cached(name="function 1")
    async def kind(message: object) -> str:
        return type(message).__name__

    for message in (FromUser("be brief"), FromSystem("be brief"), Plan.FREE, Level.FREE):
        assert [await kind(message), await kind(message)] == [type(message).__name__] * 2


async def test_rows_of_a_table_are_requests(opened: Opened) -> None:
    cache, calls = await opened(), 0

    @cache.cached(name="function 2")
    async def label(number: Any, text: Any, score: Any) -> int:
        nonlocal calls
        calls += 1
        return calls

    frame = pandas.DataFrame({"number": [1, 2, 1], "text": ["a", "b", "a"], "score": [0.5, 0.5, 0.5]})
    answers = [await label(**dict(row)) for _, row in frame.iterrows()]
    assert answers == [1, 2, 1]
    for odd in ({"number": numpy.int64(7)}, {"score": numpy.float32(0.25)}, {"text": numpy.str_("z")}):
        given = {"number": 1, "text": "a", "score": 0.5, **odd}
        assert await label(**given) == await label(**given)


# What was paid for is not lost, and what is over is not served


async def test_token_that_is_nearly_over_is_returned_and_not_kept(opened: Opened) -> None:
    cache = await opened()
    for left in (-30, 0):
        gate = Gate(partial(Computed, {"token": "abc"}, ttl=left))
        assert await _together(cache, partial(cache.get_or_set, left, gate), gate) == [{"token": "abc"}] * 3
        assert gate.calls == 1
        assert await cache.get(left) is None


async def test_check_that_raises_loses_no_answer(opened: Opened) -> None:
    cache = await opened(admit=lambda value: value["choices"][0]["finish_reason"] == "stop")
    odd: dict[str, Any]
    for odd in ({"choices": []}, {"error": "odd"}):
        gate = Gate(partial(dict, odd))
        assert await _together(cache, partial(cache.get_or_set, odd, gate), gate) == [odd] * 3
        assert await cache.get(odd) is None
    good = {"choices": [{"finish_reason": "stop"}]}
    assert await cache.get_or_set("good", lambda: asyncio.sleep(0, good)) == good
    assert await cache.get("good") == good


async def test_signed_url_is_never_served_past_its_end(opened: Opened) -> None:
    """Whatever the jitter, and whoever gives the ttl: the answer, the call or a `set`."""
    cache = await opened(jitter=0.5)
    for number in range(30):
        began = time.monotonic()

        async def sign(ttl: float = 100 + number) -> Computed[str]:
            return Computed("url", ttl=ttl)

        await cache.get_or_set(("answer", number), sign)
        await cache.get_or_set(("call", number), lambda: asyncio.sleep(0, "url"), ttl=100 + number)
        await cache.set(("set", number), "url", ttl=100 + number)
        for kind in ("answer", "call", "set"):
            fresh_for = (await cache.lookup((kind, number))).fresh_for
            assert fresh_for is not None
            # The store's clock is known to half a trip to it.
            assert fresh_for <= 100 + number + (time.monotonic() - began)


async def test_failed_or_unkept_refresh_leaves_the_old_answer(opened: Opened) -> None:
    cache = await opened(stale_if_error=60, jitter=0, retry_after=0.001)

    async def down() -> str:
        raise OSError("down")

    for outcome in (down, lambda: asyncio.sleep(0, Computed("empty", store=False))):
        await cache.set("q", "old")
        await cache.expire("q")
        assert await cache.get_or_set("q", outcome) in ("old", "empty")
        assert await cache.get_or_set("q", down) == "old"


REMOVALS: dict[str, Callable[[Cache[Any]], Awaitable[object]]] = {
    "delete": lambda cache: cache.delete("q"),
    "set": lambda cache: cache.set("q", "new"),
    "invalidate_tags": lambda cache: cache.invalidate_tags("t"),
    "invalidate_all": lambda cache: cache.invalidate_all(),
}


@pytest.mark.parametrize("removal", REMOVALS)
async def test_removed_while_it_is_computed(opened: Opened, removal: str) -> None:
    """Who comes after the removal never gets what was computed from before it."""
    cache, old = await opened(), Gate(lambda: "old")
    first = asyncio.ensure_future(cache.get_or_set("q", old, tags=["t"]))
    await old.entered.wait()
    await REMOVALS[removal](cache)
    new = Gate(lambda: "new")
    new.open.set()
    later = asyncio.ensure_future(cache.get_or_set("q", new, tags=["t"] if removal != "set" else []))
    await asyncio.wait([later], timeout=0.05)  # it may wait for the one under way, and not take its answer
    old.open.set()
    assert (await first, await later) == ("old", "new")
    assert await cache.get("q") == "new"


# What comes back is what went in


@dataclasses.dataclass(frozen=True)
class Meeting:
    at: datetime


class Appointment(pydantic.BaseModel):
    at: datetime


def _kinds() -> Iterable[Any]:
    for zone in (None, UTC, ZoneInfo("Europe/Paris")):
        at = datetime.fromisoformat("2026-03-01T09:00").replace(tzinfo=zone)
        yield from (Meeting(at), Appointment(at=at))


async def test_time_in_a_zone_with_summer_keeps_it_or_is_not_kept(opened: Opened) -> None:
    kept = 0
    for given in _kinds():
        kind = type(given)
        cache = await opened(
            namespace=f"{kind.__name__}-{given.at.tzinfo}", serializer=TypedSerializer(value_type=kind)
        )

        async def meet(given: Any = given) -> Any:
            return given

        assert await cache.get_or_set("m", meet) == given
        again = await cache.get("m")
        if again is None:
            continue
        kept += 1
        for days in (0, 60):
            assert (again.at + timedelta(days)).isoformat() == (given.at + timedelta(days)).isoformat()
    assert kept == 4  # all but those in Paris
