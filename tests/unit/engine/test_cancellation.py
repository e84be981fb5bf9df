"""A caller may be cancelled at any step of any call: nobody else notices, and nothing is left behind."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cachecore import Cache
from cachecore.store.memory_backend import MemoryBackend
from cachecore.testing.virtual import VirtualClock
from tests.properties.network import Link
from tests.properties.test_interleavings import check_nothing_is_left

Call = Callable[[Cache[Any], "Factory"], Awaitable[Any]]


class Factory:
    """Answers after a while, and counts how often it began and ended."""

    def __init__(self) -> None:
        self.begun = 0
        self.ended = 0

    async def __call__(self) -> Any:
        self.begun += 1
        await asyncio.sleep(0.01)
        self.ended += 1
        return {"answer": self.begun}


async def _many(factory: Factory, names: list[str]) -> dict[str, Any]:
    return dict.fromkeys(names, await factory())


CALLS: dict[str, Call] = {
    "get": lambda cache, factory: cache.get("q"),
    "get_many": lambda cache, factory: cache.get_many(["q", "r"]),
    "get_or_set": lambda cache, factory: cache.get_or_set("q", factory, tags=["t"]),
    "get_or_set stale": lambda cache, factory: cache.get_or_set("stale", factory),
    "get_or_set_many": lambda cache, factory: cache.get_or_set_many(["q", "r"], lambda names: _many(factory, names)),
    "lookup": lambda cache, factory: cache.lookup("q", factory),
    "refresh": lambda cache, factory: cache.refresh("q", factory),
    "set": lambda cache, factory: cache.set("q", "new", tags=["t"]),
    "set_many": lambda cache, factory: cache.set_many({"q": "new", "r": "new"}),
    "delete": lambda cache, factory: cache.delete("stale"),
    "expire": lambda cache, factory: cache.expire("stale"),
    "invalidate_tags": lambda cache, factory: cache.invalidate_tags("t"),
    "invalidate_all": lambda cache, factory: cache.invalidate_all(),
}


async def _scene(clock: VirtualClock) -> Cache[Any]:
    link = Link(MemoryBackend(clock=clock), clock, random.Random(1))
    cache: Cache[Any] = Cache(
        link, ttl=60, stale_if_error=60, soft_timeout=0.005, clock=clock, chance=random.Random(2), backend_timeout=5
    )
    await cache.set("stale", "old")
    await cache.expire("stale")
    return cache


def _turns(call: Call) -> int:
    """Return how many turns of the loop the call takes if it is left alone."""

    async def main(clock: VirtualClock) -> int:
        cache = await _scene(clock)
        before = clock.loop.turns
        await call(cache, Factory())
        turns = clock.loop.turns - before
        await cache.aclose()
        return turns

    clock = VirtualClock()
    return clock.run(main(clock))


def _cancel_at(clock: VirtualClock, turn: int, *tasks: asyncio.Task[Any]) -> None:
    clock.loop.call_at_turn(clock.loop.turns + turn, lambda: [task.cancel() for task in tasks])


@pytest.mark.parametrize("name", CALLS)
def test_cancelled_at_every_step(name: str) -> None:
    """The caller is cancelled, and only the caller; the next call is answered; no task, flight or ticket is left."""
    call = CALLS[name]

    async def main(clock: VirtualClock, turn: int) -> None:
        cache, factory = await _scene(clock), Factory()
        task = asyncio.ensure_future(call(cache, factory))
        _cancel_at(clock, turn, task)
        await asyncio.wait([task])
        assert task.cancelled() or turn >= turns
        del task  # its error holds the frames that it passed
        fresh = Factory()
        assert await cache.get_or_set("other", fresh) == {"answer": 1}
        await asyncio.sleep(10)
        check_nothing_is_left([cache])
        # Not "old" unless nothing was written: half a write is nobody's wish.
        assert await cache.get_or_set("q", fresh) in ({"answer": 1}, {"answer": 2}, "new")
        await cache.aclose()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    turns = _turns(call)
    assert turns > 3
    for turn in range(1, turns + 1):
        clock = VirtualClock()
        clock.run(main(clock, turn))


@pytest.mark.parametrize("owner", [True, False], ids=["the first caller", "another caller"])
def test_one_of_five_callers_leaves_at_every_step(owner: bool) -> None:
    """The other four get their answer from one call of the factory."""

    async def main(clock: VirtualClock, turn: int) -> bool:
        cache, factory = await _scene(clock), Factory()
        tasks = [asyncio.ensure_future(cache.get_or_set("q", factory)) for _ in range(5)]
        leaving = tasks[0 if owner else 3]
        _cancel_at(clock, turn, leaving)
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        for task, outcome in zip(tasks, outcomes, strict=True):
            if task is leaving and task.cancelled():
                assert isinstance(outcome, asyncio.CancelledError)
            else:
                assert outcome == {"answer": 1}
        assert factory.begun == factory.ended == 1
        await cache.aclose()
        return leaving.cancelled()

    left = [VirtualClock.run(clock, main(clock, turn)) for turn in range(1, 40) for clock in [VirtualClock()]]
    assert left.count(True) > 10
    assert not left[-1]


def test_everybody_leaves_at_every_step() -> None:
    """When the last caller has left, the factory is cancelled, unless it has returned: then its answer is stored."""

    async def main(clock: VirtualClock, turn: int) -> bool:
        cache, factory = await _scene(clock), Factory()
        tasks = [asyncio.ensure_future(cache.get_or_set("q", factory)) for _ in range(3)]
        _cancel_at(clock, turn, *tasks)
        await asyncio.wait(tasks)
        everybody = all(task.cancelled() for task in tasks)
        tasks.clear()  # their errors hold the frames that they passed
        begun, ended = factory.begun, factory.ended
        await asyncio.sleep(10)
        assert (factory.begun, factory.ended) == (begun, ended)
        check_nothing_is_left([cache])
        assert await cache.get("q") == ({"answer": 1} if ended else None)
        await cache.aclose()
        return everybody

    left = [VirtualClock.run(clock, main(clock, turn)) for turn in range(1, 40) for clock in [VirtualClock()]]
    assert left.count(True) > 10
    assert not left[-1]
