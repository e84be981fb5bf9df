"""What memory answers for is touched in the store, in batches, within bounds, and only where that can be done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from cachecore import Cache
from cachecore.contract import Alive, BackendError, Clock, FeedEvent, SupportsTouch
from cachecore.memory.warmth import Warmth
from cachecore.store.memory_backend import MemoryBackend
from cachecore.testing.clocks import FakeClock
from cachecore.testing.faulty import FaultyBackend
from tests.unit.virtual_caches import Scene, virtual

HEARTBEAT = 0.25


class Evicting(MemoryBackend):
    """A store in one process that has a feed and counts the uses it is told of."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock=clock)
        self._monotonic = clock.monotonic
        self.touched: list[tuple[str, ...]] = []

    async def feed(self, prefix: str) -> AsyncIterator[FeedEvent]:
        while True:
            yield Alive(self._monotonic())
            await asyncio.sleep(HEARTBEAT)

    async def touch(self, keys: Sequence[str]) -> None:
        self.touched.append(tuple(keys))


@virtual
async def test_an_entry_that_memory_answers_for_is_touched_every_few_seconds(scene: Scene) -> None:
    """A thousand hits in ten seconds are five touches of the entry, each with its stamps and in one call."""
    store = Evicting(scene.clock)
    cache = scene.cache(store)
    await cache.set("hot", 1, tags=["doc:1"])
    assert await cache.get("hot") == 1
    store.touched.clear()
    for _ in range(1000):
        assert await cache.get("hot") == 1
        await asyncio.sleep(0.01)
    assert cache.stats.hits_l1 >= 1000
    touches = [keys for keys in store.touched if cache.key("hot") in keys]
    assert len(touches) in (4, 5)
    assert all({"cc:s:n", "cc:s:t%2Fdoc%3A1"} <= set(keys) for keys in touches)
    await asyncio.sleep(10)
    quiet = len(store.touched)
    await asyncio.sleep(10)
    assert len(store.touched) == quiet  # what nobody asks for cools down


@virtual
async def test_stamps_that_the_table_answers_for_are_touched_with_each_heartbeat(scene: Scene) -> None:
    """Entries that come from the store keep their stamps warm, which no read asks the store for."""
    store = Evicting(scene.clock)
    cache = scene.cache(store, l1_max_entries=0)
    for i in range(10):
        await cache.set(i, i)
    for _ in range(2):
        assert await cache.get(0) == 0
        await asyncio.sleep(2 * HEARTBEAT)
    store.touched.clear()
    for i in range(200):
        assert await cache.get(i % 10) == i % 10
        await asyncio.sleep(0.01)
    assert 7 <= len(store.touched) <= 9
    assert set(store.touched) == {("cc:s:n",)}


@virtual
async def test_a_store_that_fails_to_be_touched_costs_no_caller_anything(scene: Scene) -> None:
    """Failures are counted, and it is touched again as soon as it can be."""
    store = FaultyBackend(Evicting(scene.clock))
    assert isinstance(store, SupportsTouch)
    cache = scene.cache(store)
    store.fail("touch", times=2)
    await cache.set("hot", 1)
    await _hits(cache, 10)
    assert cache.stats.backend_errors == {"touch:unavailable": 2}
    assert store.count("touch") >= 4


@virtual
async def test_a_store_that_refuses_to_be_touched_is_asked_once_a_minute(scene: Scene) -> None:
    """A permission that is missing will still be missing at the next heartbeat."""
    store = FaultyBackend(Evicting(scene.clock))
    cache = scene.cache(store, ttl=600)
    store.fail("touch", lambda operation: BackendError(operation, transient=False, reason="auth"))
    await cache.set("hot", 1)
    await _hits(cache, 50)
    assert store.count("touch") == 1
    await _hits(cache, 15)
    assert store.count("touch") == 2
    assert cache.stats.backend_errors == {"touch:auth": 2}


@virtual
async def test_a_touch_that_hangs_is_not_doubled(scene: Scene) -> None:
    """While the store is silent, heartbeats add no further calls."""
    store = FaultyBackend(Evicting(scene.clock))
    cache = scene.cache(store, backend_timeout=60)
    await cache.set("hot", 1)
    store.hang("touch")
    await _hits(cache, 10)
    assert store.count("touch") == 1
    store.heal()


async def _hits(cache: Cache[Any], seconds: float) -> None:
    for _ in range(round(seconds * 10)):
        assert await cache.get("hot") == 1
        await asyncio.sleep(0.1)


@virtual
async def test_notes_are_bounded_and_stamps_go_first(scene: Scene) -> None:
    """However much memory answers for, a heartbeat touches some thousand keys and few more wait."""
    store = Evicting(scene.clock)
    noted = Warmth(store, scene.clock)
    for i in range(30_000):
        noted.note_copy(f"e{i}", ((f"s{i % 50}", b""),))
    assert len(noted) == 20_050
    await noted.touch()
    (keys,) = store.touched
    assert len(keys) == 4_096
    assert {f"s{i}" for i in range(50)} == set(keys[:50])
    assert len(noted) == 20_050 - 4_096
    assert noted.due


def test_nothing_is_noted_for_a_store_that_cannot_be_touched() -> None:
    """Copies are looked at again when their time has come, and not before."""
    clock = FakeClock()
    noted = Warmth(MemoryBackend(clock=clock), clock)
    noted.note_stamps(["s"])
    assert not noted.due
    assert (noted.look_at(500.0, 10.0), noted.turn) == (500.0, 0)


def test_a_child_process_leaves_the_notes_to_its_parent() -> None:
    clock = FakeClock()
    noted = Warmth(Evicting(clock), clock)
    noted.note_copy("e", (("s", b""),))
    noted.after_fork()
    assert not noted.due
