"""`set(since=…)`: a value is stored only if nothing has changed since it was looked up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from cachecore import Cache, OptionsError
from tests.unit.virtual_caches import Answer, Scene, virtual


@virtual
async def test_set_since_takes_a_lookup_of_the_same_request_only(scene: Scene) -> None:
    cache = scene.cache()
    seen = await cache.lookup("q")
    assert await cache.set("q", 1, since=seen) is True
    assert await cache.set("q", 2, since=seen) is False
    await cache.get("q")
    hit = await cache.lookup("q")
    assert hit.tier == "l1"  # what memory knew is compared with the store, too
    assert await cache.set("q", 2, since=hit) is True
    assert await cache.set("q", 3, since=hit) is False
    assert await cache.get("q") == 2
    with pytest.raises(OptionsError, match="same request"):
        await cache.set("other", 1, since=seen)
    seen = await cache.lookup("r")
    await cache.delete("r")
    await asyncio.sleep(cache._engine.protection + 1)  # the tombstone has gone, and nothing tells of the delete
    assert await cache.set("r", 1, since=seen) is False
    await cache.set("s", "of a newer version")
    (data,) = await scene.memory.get_many([cache.key("s")])
    assert data is not None
    await scene.memory.set_many({cache.key("s"): data[:1] + bytes([data[1] + 16]) + data[2:]}, ttl=60)
    cache._engine.l1.clear()
    assert await cache.set("s", 1, since=await cache.lookup("s")) is False
    with pytest.raises(OptionsError, match="not what it computed"):
        await cache.set("t", 3, since=await cache.lookup("t", Answer()))


@virtual
async def test_set_since_a_hit_from_memory(scene: Scene) -> None:
    """What the store has is compared with what the copy was made of, so that the tier makes no difference."""
    cache, other = scene.cache(stale_if_error=60), scene.cache()
    await cache.set("q", 1)
    seen = await cache.lookup("q")
    assert seen.tier == "l1"
    assert await cache.set("q", 2, since=seen) is True
    assert await cache.set("q", 3, since=seen) is False
    assert await other.get("q") == 2
    changes: list[Callable[[], Awaitable[object]]] = [
        lambda: other.delete("q"),
        lambda: other.set("q", 5),
        other.invalidate_all,
    ]
    for change in changes:
        await cache.set("q", 4)
        seen = await cache.lookup("q")
        assert seen.tier == "l1"
        await change()
        assert await cache.set("q", 6, since=seen) is False
    await cache.set("q", 7)
    seen = await cache.lookup("q")
    assert await cache.expire("q") is True
    assert await cache.set("q", 8, since=seen) is False


async def test_set_since_a_hit_from_the_memory_of_a_store_in_this_process() -> None:
    """Its copies have no payload of their own, and are compared all the same."""
    async with Cache[int]("memory://", ttl=60) as cache:
        await cache.set("n", 1)
        seen = await cache.lookup("n")
        assert seen.tier == "l1"
        assert await cache.set("n", 2, since=seen) is True
        assert await cache.set("n", 3, since=seen) is False
        for change in (cache.delete("n"), cache.invalidate_all()):
            await cache.set("n", 4)
            seen = await cache.lookup("n")
            await change
            assert await cache.set("n", 5, since=seen) is False
        assert await cache.get("n") is None
