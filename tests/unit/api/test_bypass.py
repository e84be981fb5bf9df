"""`bypass()`: no cache is asked, and nothing that is computed is stored."""

from __future__ import annotations

import asyncio

import pytest

from cachecore import SyncCache, bypass
from tests.unit.virtual_caches import Answer, Scene, virtual


@virtual
async def test_every_way_of_asking_misses_and_every_factory_runs(scene: Scene) -> None:
    cache, factory = scene.cache(), Answer()
    await cache.set("q", "stored")
    with bypass():
        assert await cache.get("q", "none") == "none"
        assert cache.peek("q", "none") == "none"
        assert cache.peek(key=cache.key("q")) is None
        assert cache.peek_lookup("q") is None
        assert await cache.get_or_set("q", factory) == 1
        assert await cache.refresh("q", factory) == 2
        assert await cache.get_many(["q"]) == {}
        missed, asked = await cache.lookup("q"), await cache.lookup("q", factory)
        assert (missed.outcome, missed.reason, missed.found) == ("miss", "bypass", False)
        assert (asked.outcome, asked.value, asked.cached) == ("bypass", 3, False)
    assert await cache.get("q") == "stored"
    assert (cache.stats.factory_calls, cache.stats.computed, cache.stats.misses) == (0, 0, 0)
    assert cache.stats.bypassed == 6


@virtual
async def test_it_ends_with_its_block_whatever_happens_in_it(scene: Scene) -> None:
    cache = scene.cache()
    await cache.set("q", "stored")
    with pytest.raises(LookupError), bypass(), bypass():
        raise LookupError
    assert await cache.get("q") == "stored"
    with bypass():
        with bypass():
            pass
        assert await cache.get("q") is None


@virtual
async def test_it_concerns_its_own_task_and_those_it_starts(scene: Scene) -> None:
    cache = scene.cache()
    await cache.set("q", "stored")
    inside = asyncio.Event()

    async def other() -> object:
        await inside.wait()
        return await cache.get("q")

    waiting = asyncio.ensure_future(other())
    with bypass():
        inside.set()
        assert await asyncio.ensure_future(cache.get("q")) is None
        assert await waiting == "stored"


@virtual
async def test_what_is_written_on_purpose_is_written(scene: Scene) -> None:
    cache = scene.cache()
    with bypass():
        await cache.set("q", "new")
    assert await cache.get("q") == "new"
    with bypass():
        assert await cache.delete("q") is True
    assert await cache.get("q") is None


def test_threads_leave_it_out_as_well() -> None:
    with SyncCache[object]("memory://", ttl=60) as cache:
        cache.set("q", "stored")
        with bypass():
            assert cache.get("q") is None
            assert cache.peek("q") is None
            assert cache.get_or_set("q", lambda: "new") == "new"
            assert cache.get_or_set_many(["q"], lambda names: dict.fromkeys(names, 1)) == {"q": 1}
        assert cache.get("q") == "stored"
