"""`refresh`: never an answer that began earlier, and never more than two calls for all who ask at one moment."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from cachecore import FlightCycleError, SyncCache
from tests.unit.virtual_caches import Answer, Scene, soon, virtual


@virtual
async def test_twenty_at_one_moment_are_one_call(scene: Scene) -> None:
    cache = scene.cache()
    await cache.set("q", "old")
    factory = Answer(1)
    assert await asyncio.gather(*(cache.refresh("q", factory) for _ in range(20))) == [1] * 20
    assert (factory.calls, cache.stats.joined, cache.stats.computed) == (1, 19, 20)
    assert await cache.get("q") == 1


@virtual
async def test_those_who_come_meanwhile_share_the_next(scene: Scene) -> None:
    """It begins when the first has ended, so that none is given what began before it asked."""
    cache = scene.cache()
    factory = Answer(1)
    tasks = await soon(lambda: cache.refresh("q", factory), 1)
    for _ in range(19):
        await asyncio.sleep(0.01)
        tasks += await soon(lambda: cache.refresh("q", factory), 1)
    assert await asyncio.gather(*tasks) == [1] + [2] * 19
    assert factory.calls == 2
    assert await cache.get("q") == 2
    await asyncio.sleep(0.01)
    assert not cache._engine.state().rounds.open
    assert not cache._engine.state().rounds.running


@virtual
async def test_a_first_caller_that_leaves_takes_none_along(scene: Scene) -> None:
    cache = scene.cache()
    factory = Answer(1)
    first, *others = await soon(lambda: cache.refresh("q", factory), 1)
    second, *others = await soon(lambda: cache.refresh("q", factory), 5)
    second.cancel()  # the one that would have begun the next
    assert await first == 1
    assert await asyncio.gather(*others) == [2] * 4
    first, *others = await soon(lambda: cache.refresh("q", factory), 5)
    first.cancel()
    assert await asyncio.gather(*others) == [3] * 4
    assert factory.calls == 3


@virtual
async def test_each_gets_an_error_or_a_copy_of_its_own(scene: Scene) -> None:
    cache = scene.cache()
    failing = Answer(1, error=LookupError("no"))
    errors = await asyncio.gather(*(cache.refresh("q", failing) for _ in range(5)), return_exceptions=True)
    assert [type(error) for error in errors] == [LookupError] * 5
    assert len(set(map(id, errors))) == 5
    assert failing.calls == 1
    made: list[object] = []

    async def uncopied() -> object:
        await asyncio.sleep(0.1)
        made.append(object())
        return made[-1]

    values = await asyncio.gather(*(cache.refresh("q", uncopied) for _ in range(3)))
    assert len(set(map(id, values))) == 3


@virtual
async def test_a_factory_that_refreshes_its_own_key_is_told(scene: Scene) -> None:
    cache = scene.cache()

    async def again() -> Any:
        return await cache.refresh("q", Answer())

    async with asyncio.timeout(5):
        with pytest.raises(FlightCycleError):
            await cache.refresh("q", again)


def test_twenty_threads_are_two_calls() -> None:
    calls = 0
    together = threading.Barrier(20)
    values: list[int] = []
    with SyncCache[int]("memory://", ttl=60) as cache:

        def factory() -> int:
            nonlocal calls
            calls += 1
            time.sleep(0.2)
            return calls

        def ask() -> None:
            together.wait()
            values.append(cache.refresh("q", factory))

        threads = [threading.Thread(target=ask) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert calls <= 2
        assert len(values) == 20
        assert cache.get("q") == max(values)
