"""C1, C2: callers that are cancelled anywhere harm nobody, and their cancellation is not swallowed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cachecore import Cache
from cachecore.testing.servers import Server
from tests.conftest import Record
from tests.faults.callers import PATIENT, answer, cache_at, filled, request, sizes, until
from tests.faults.public_calls import CALLS
from tests.faults.storms import KEYS, clients, nothing_under_way, wave


@asynccontextmanager
async def nothing_left_over(url: str, **options: Any) -> AsyncIterator[Cache[Any]]:
    """A cache, of which nothing may be left over: no task, flight, place at the guard, ticket or connection."""
    before = asyncio.all_tasks()
    async with cache_at(url, **PATIENT, **options) as cache:
        await filled(cache, 2)
        connections, errors = clients(url), cache.stats.backend_errors
        yield cache
        await nothing_under_way(cache)
        assert clients(url) == connections
        assert cache.stats.backend_errors == errors
    await until(lambda: asyncio.all_tasks() <= before)


@sizes(8000, 480_000)
@pytest.mark.parametrize("l1", [0, 1000], ids=["store", "memory"])
async def test_c1_storm(size: int, l1: int, any_server: Server, record: Record) -> None:
    """Reads and computations, two in three cancelled at random await points, over a live server."""
    await storm(any_server.url, size, random.Random(l1), l1_max_entries=l1)
    _stormed["calls"] += size
    record("C1", _c1(), met=True, size=_c1_size())


@sizes(4000, 40_000)
async def test_c1_storm_on_sqlite(size: int, tmp_path: Path, record: Record) -> None:
    await storm(f"sqlite:///{tmp_path}/cache.db", size, random.Random(3), l1_max_entries=0)
    _stormed["calls"] += size
    record("C1", _c1(), met=True, size=_c1_size())


_stormed = {"calls": 0, "steps": 0}


def _c1() -> str:
    return "0 wrong, 0 swallowed, 0 left over"


def _c1_size() -> str:
    return f"{_stormed['calls']:,} random, {_stormed['steps']:,} loop steps of {len(CALLS)} calls"


async def storm(url: str, size: int, chance: random.Random, **options: Any) -> None:
    """Make `size` calls in waves."""
    async with nothing_left_over(url, **options) as cache:
        cancelled = 0
        for _ in range(0, size, 100):
            cancelled += await wave(cache, chance)
        assert cancelled > size // 20
        for number in range(KEYS):
            await CALLS["get_or_set"](cache, number)


@sizes(1, 3)
@pytest.mark.parametrize("name", CALLS)
async def test_c1_every_loop_step(name: str, store: str, size: int, record: Record) -> None:
    """Cancelled after one turn of the loop, two turns, three … until the call is done before it is cancelled."""
    call = CALLS[name]
    async with nothing_left_over(store, l1_max_entries=10) as cache:
        steps = in_time = trials = 0
        number = 0
        while in_time < 3 * size:  # done before it could be cancelled, so many times in a row
            number += 2
            bystander = asyncio.ensure_future(CALLS["get_or_set"](cache, number))
            task = asyncio.ensure_future(call(cache, number))
            for _ in range(steps):
                await asyncio.sleep(0)
            if task.cancel():
                in_time = 0
                with pytest.raises(asyncio.CancelledError):
                    await task
            else:
                in_time += 1
                await task
            trials += 1
            steps += max(1, (steps - 60) // 3)  # beyond, the call only waits for the store
            await asyncio.wait_for(bystander, 10)
            assert steps < 1_000_000  # turns of a loop that does nothing but wait for a store on a busy machine
        _stormed["steps"] += trials
        record("C1", _c1(), met=True, size=_c1_size())
        await asyncio.wait_for(call(cache, 1), 10)
        assert await cache.get(request(2)) in (None, answer(2))


@sizes(100, 1000)
async def test_c2_any_waiters_cancelled(size: int, any_server: Server, record: Record) -> None:
    """Whoever of the callers of a computation is cancelled, the first one too: the others get it, once."""
    chance = random.Random(2)
    async with nothing_left_over(any_server.url) as cache:
        for trial in range(size):
            calls = 0
            number = 1000 + trial

            async def factory(number: int = number) -> dict[str, Any]:
                nonlocal calls
                calls += 1
                for _ in range(20):
                    await asyncio.sleep(0)
                return answer(number)

            callers = [asyncio.ensure_future(cache.get_or_set(request(number), factory)) for _ in range(10)]
            for _ in range(chance.randrange(25)):
                await asyncio.sleep(0)
            leaving = [caller for caller in chance.sample(callers, chance.randint(1, 9)) if caller.cancel()]
            results = await asyncio.gather(*callers, return_exceptions=True)
            for caller, result in zip(callers, results, strict=True):
                assert caller.cancelled() if caller in leaving else result == answer(number)
            assert calls == 1
        record("C2", "the others answered, 1 call each", met=True, size=f"{size:,} trials")


async def test_c2_all_cancelled_frees_the_key(any_server: Server) -> None:
    """When the last caller leaves, the factory is cancelled and the next caller starts anew."""
    async with nothing_left_over(any_server.url) as cache:
        began, ended = asyncio.Event(), asyncio.Event()

        async def endless() -> dict[str, Any]:
            began.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()
            return {}

        callers = [asyncio.ensure_future(cache.get_or_set(request(7), endless)) for _ in range(5)]
        await began.wait()
        for caller in callers:
            caller.cancel()
        await asyncio.gather(*callers, return_exceptions=True)
        await asyncio.wait_for(ended.wait(), 5)
        await CALLS["get_or_set"](cache, 7)


async def test_c1_batch_joins_as_the_last_caller_leaves() -> None:
    """A batch that finds a computation whose last caller leaves in that turn of the loop computes for itself."""
    async with nothing_left_over("memory://") as cache:
        for steps in range(40):
            number = 1000 + steps
            began, go_on = asyncio.Event(), asyncio.Event()

            async def single(number: int, began: asyncio.Event, go_on: asyncio.Event) -> dict[str, Any]:
                began.set()
                await go_on.wait()
                return answer(number)

            async def factory(names: list[str], number: int = number) -> dict[str, Any]:
                return {name: answer(number) for name in names}

            leaver = asyncio.ensure_future(cache.get_or_set(request(number), partial(single, number, began, go_on)))
            await began.wait()
            batch = asyncio.ensure_future(cache.get_or_set_many({"one": request(number)}, factory))
            for _ in range(steps):
                await asyncio.sleep(0)
            leaver.cancel()
            await asyncio.wait([leaver])
            go_on.set()  # for a batch that joined in time
            assert await asyncio.wait_for(batch, 5) == {"one": answer(number)}


@pytest.mark.parametrize("name", ["get_or_set", "get_or_set_many", "refresh"])
async def test_c1_who_gives_up_leaves_no_lease(name: str, store: str) -> None:
    """A caller cancelled while the lease of its key is on its way leaves none: who comes next waits for nobody."""
    async with nothing_left_over(store, l1_max_entries=0, lease_ttl=60) as cache:
        for steps in range(40):
            number = 3000 + 10 * steps
            leaver = asyncio.ensure_future(CALLS[name](cache, number))
            for _ in range(steps):
                await asyncio.sleep(0)
            leaver.cancel()
            await asyncio.wait([leaver])
            await asyncio.wait_for(CALLS["get_or_set"](cache, number), 10)
