"""`set` to a store in this process ends within the call, and is as safe as any other."""

from __future__ import annotations

import asyncio

import pytest

from cachecore import Cache, Computed, EncodingError
from cachecore.store.memory_backend import MemoryBackend
from cachecore.testing.clocks import FakeClock


async def warm(store: MemoryBackend | str = "memory://") -> Cache[object]:
    """Return a cache that knows its stamps and its store's clock."""
    cache: Cache[object] = Cache(store, ttl=60, clock=FakeClock())
    assert await cache.set("warm", 0, tags=["x"])
    return cache


async def test_no_other_task_runs_before_a_set_has_ended() -> None:
    async with await warm() as cache:
        turns: list[str] = []
        asyncio.get_running_loop().call_soon(turns.append, "turn")
        assert await cache.set("q", "new", tags=["x"])
        assert await cache.get("q") == "new"
        assert turns == []
        assert cache.stats.stored == 2


async def test_a_stamp_that_is_gone_is_made_again_before_the_answer_that_carries_it() -> None:
    async with await warm() as cache:
        await cache.invalidate_tags("x")
        assert await cache.get("warm") is None
        assert await cache.set("q", "new", tags=["x"])
        assert await cache.get("q") == "new"
        await cache.invalidate_tags("x")
        assert await cache.get("q") is None


async def test_two_caches_of_one_store_see_each_others_invalidations() -> None:
    store = MemoryBackend()
    async with await warm(store) as one, await warm(store) as other:
        await other.invalidate_tags("x")
        assert await one.set("q", "new", tags=["x"])
        assert await other.get("q") == "new"
        await one.invalidate_tags("x")
        assert await other.get("q") is None


async def test_a_longer_life_than_that_of_its_stamp_prolongs_the_stamp() -> None:
    clock = FakeClock()
    async with Cache[object](MemoryBackend(clock=clock), ttl=10, clock=clock) as cache:
        assert await cache.set("short", 1, tags=["x"])
        assert await cache.set("long", 2, ttl=10_000, tags=["x"])
        clock.advance(5000)
        assert await cache.get("long") == 2
        await cache.invalidate_tags("x")
        assert await cache.get("long") is None


async def test_a_value_that_cannot_be_encoded_leaves_the_old_answer() -> None:
    async with await warm() as cache:
        with pytest.raises(EncodingError):
            await cache.set("warm", object(), tags=["x"])
        assert await cache.get("warm") == 0


async def test_the_origin_and_the_own_ttl_of_a_value_are_stored() -> None:
    clock = FakeClock()
    async with Cache[object](MemoryBackend(clock=clock), ttl=60, clock=clock) as cache:
        await cache.set("warm", 0)
        assert await cache.set("q", Computed("new", ttl=5, served_by="us"))
        assert (await cache.lookup("q")).served_by == "us"
        clock.advance(6)
        assert await cache.get("q") is None


@pytest.mark.usefixtures("default_deadlines")  # its end tries for `write_timeout` to deliver what pends
async def test_a_store_that_is_closed_is_no_error_and_the_set_says_false() -> None:
    store = MemoryBackend()
    async with await warm(store) as cache:
        await store.aclose()
        assert await cache.set("q", "new") is False
        assert cache.stats.not_stored == {"store": 1}
