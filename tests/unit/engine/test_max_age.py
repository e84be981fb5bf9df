"""`max_age`: nothing older counts as fresh, whatever ttl it was stored with, and nobody else loses it."""

from __future__ import annotations

import asyncio

import pytest

from cachecore import OptionsError, SyncCache
from tests.unit.virtual_caches import Answer, Scene, virtual


@virtual
async def test_reads_take_nothing_older_from_memory_or_the_store(scene: Scene) -> None:
    cache, other = scene.cache(ttl=1000, l1_max_age=100), scene.cache(ttl=1000, l1_max_entries=0)
    await cache.set("q", "old")
    await asyncio.sleep(10)
    assert cache.peek("q") == "old"
    for one in (cache, other):
        assert await one.get("q", max_age=9) is None
        assert await one.get("q", max_age=11) == "old"
        seen = await one.lookup("q", max_age=9)
        assert (seen.outcome, seen.reason) == ("miss", "max_age")
        assert (await one.lookup("q", max_age=11)).value == "old"
        assert await one.get("q") == "old"
        with pytest.raises(OptionsError, match="max_age"):
            await one.get("q", max_age=-1)


@virtual
async def test_an_answer_that_is_too_old_is_computed_anew_and_stored(scene: Scene) -> None:
    """While it is, and if that fails, callers who take the old one still get it."""
    cache, other = scene.cache(ttl=1000), scene.cache(ttl=1000, l1_max_entries=0)
    await cache.set("q", "old")
    await asyncio.sleep(10)
    with pytest.raises(LookupError):
        await cache.get_or_set("q", Answer(error=LookupError()), max_age=5)
    assert await other.get("q") == "old"
    asked = asyncio.ensure_future(cache.get_or_set("q", Answer(2), max_age=5))
    await asyncio.sleep(1)
    assert await other.get("q") == "old"
    assert await asked == 1
    assert await other.get("q") == await cache.get("q", max_age=5) == 1
    assert await cache.get_or_set("q", Answer(), max_age=5) == 1


@virtual
async def test_callers_of_one_moment_share_a_computation(scene: Scene) -> None:
    cache = scene.cache(ttl=1000)
    await cache.set("q", "old")
    await asyncio.sleep(10)
    factory = Answer(1)
    values = await asyncio.gather(*(cache.get_or_set("q", factory, max_age=5) for _ in range(20)))
    assert (values, factory.calls) == ([1] * 20, 1)
    found = await asyncio.gather(*(cache.lookup("q", factory, max_age=0) for _ in range(3)))
    assert [one.value for one in found] == [2] * 3


@virtual
async def test_a_lowered_ttl_holds_for_older_entries_where_the_view_says_so(scene: Scene) -> None:
    old, new = scene.cache(ttl=86_400), scene.cache(ttl=1, max_age=1)
    await old.set("price", "of yesterday")
    await asyncio.sleep(2)
    assert await scene.cache(ttl=1).get("price") == "of yesterday"  # an entry keeps the ttl that it was stored with
    assert await new.get_or_set("price", Answer()) == 1
    assert await old.get("price") == 1


@virtual
async def test_stale_windows_count_from_the_age(scene: Scene) -> None:
    cache = scene.cache(ttl=1000, stale_if_error=1000)
    await cache.set("q", "old")
    await asyncio.sleep(10)
    assert await cache.get_or_set("q", Answer(error=LookupError()), max_age=5) == "old"
    assert (await cache.lookup("q", max_age=5, stale=True)).outcome == "stale"


def test_the_sync_face_takes_it() -> None:
    with SyncCache[int]("memory://", ttl=60) as cache:
        cache.set("q", 1)
        assert cache.get("q", max_age=60) == 1
        assert cache.get("q", max_age=0) is None
        assert cache.lookup("q", max_age=0).outcome == "miss"
        assert cache.get_or_set("q", lambda: 2, max_age=0) == 2
        assert cache.get_or_set("q", lambda: 3, max_age=60) == 2
