"""`peek_lookup`: the answer in memory with all that is known of it, without a loop or a store."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.virtual_caches import Answer, Scene, virtual


@virtual
async def test_peek_lookup_is_the_lookup_of_what_is_in_memory(scene: Scene) -> None:
    """It tells and counts the same, asks no store, and leaves an answer that is due for `lookup` to refresh."""
    cache, other = scene.cache(), scene.cache(l1_max_entries=0)
    assert cache.peek_lookup("q") is None
    await other.set("q", 1)
    assert cache.peek_lookup("q") is None
    await cache.get("q")
    await asyncio.sleep(0.5)
    known = cache.peek_lookup("q")
    assert known is not None
    assert known == await cache.lookup("q")
    assert (known.value, known.outcome, known.tier) == (1, "hit", "l1")
    assert known.age == pytest.approx(0.5)
    assert known.fresh_for == pytest.approx(59.5)
    assert (cache.stats.hits_l1, cache.stats.misses) == (2, 0)
    assert await cache.set("q", 2, since=known)
    due, factory = scene.cache(ttl=60, refresh_ahead=1e9), Answer(1)
    await due.get_or_set("due", factory)
    assert due.peek_lookup("due") is None
    assert (await due.lookup("due", factory)).tier == "l1"
    await asyncio.sleep(2)
    assert factory.calls == 2
    await asyncio.sleep(60)
    assert cache.peek_lookup("q") is None
