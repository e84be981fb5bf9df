"""An operator lists what is stored, with its facts, and deletes single entries by their keys."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cachecore import Cache, OptionsError, SyncCache
from cachecore.store.memory_backend import MemoryBackend
from cachecore.testing.faulty import FaultyBackend
from tests.unit.virtual_caches import Scene, virtual


async def listed(cache: Cache[Any], **wanted: Any) -> dict[str, Any]:
    return {entry.namespace: entry.load() async for entry in cache.entries(**wanted)}


async def test_a_listing_has_this_namespace_and_those_below() -> None:
    store = MemoryBackend()
    root: Cache[str] = Cache(store, ttl=60, prefix="p:q")
    here, below, beside = root.scoped("a"), root.scoped("a/b é"), root.scoped("ab")
    for view, value in ((root, "root"), (here, "here"), (below, "below"), (beside, "beside")):
        await view.set({"q": 1}, value)
    assert await listed(root) == {"": "root", "a": "here", "a/b é": "below", "ab": "beside"}
    assert await listed(here) == {"": "here", "b é": "below"}
    assert await listed(root, where=lambda namespace: namespace == "a/b é") == {"a/b é": "below"}
    assert await listed(root, keys=[below.key({"q": 1}), "p:q:e:absent:0", "other:e:a:0"]) == {"a/b é": "below"}
    assert await listed(here, keys=[beside.key({"q": 1})]) == {}


@virtual
async def test_the_facts_of_an_entry(scene: Scene) -> None:
    cache = scene.cache(ttl=10, stale_if_error=60)
    view = cache.scoped("faq", tags=["model:m"])
    await view.set({"q": 1}, "answer", tags=["doc:1"], served_by="provider")
    await asyncio.sleep(12)
    (entry,) = [entry async for entry in cache.entries()]
    assert (entry.key, entry.namespace, entry.served_by) == (view.key({"q": 1}), "faq", "provider")
    assert set(entry.tags) == {"model:m", "doc:1"}
    assert entry.age == pytest.approx(12)
    assert entry.fresh_for == pytest.approx(-2, abs=0.1)
    assert len("answer") < entry.size_bytes < 200
    assert "answer" not in repr(entry)


async def test_no_listing_has_what_may_not_be_served() -> None:
    cache: Cache[str] = Cache("memory://", ttl=60)
    tagged = cache.scoped(tags=["t"])
    await tagged.set({"q": 1}, "invalidated")
    await cache.set({"q": 2}, "deleted")
    await cache.set({"q": 3}, "kept")
    await cache.invalidate_tags("t")
    await cache.delete({"q": 2})
    assert [entry.load() async for entry in cache.entries()] == ["kept"]


async def test_a_listing_is_bounded() -> None:
    cache: Cache[int] = Cache("memory://", ttl=60)
    await cache.set_many({("q", number): number for number in range(200)})
    assert len([entry async for entry in cache.entries(most=70)]) == 70
    with pytest.raises(OptionsError, match="most must be 1 or more, not 0"):
        cache.entries(most=0)


async def test_a_listing_counts_nothing() -> None:
    cache: Cache[int] = Cache("memory://", ttl=60)
    await cache.set({"q": 1}, 1)
    before = cache.stats
    assert [entry.load() async for entry in cache.entries()] == [1]
    assert cache.stats.lookups == before.lookups


async def test_a_store_that_fails_ends_the_listing() -> None:
    store = FaultyBackend(MemoryBackend())
    cache: Cache[int] = Cache(store, ttl=60)
    await cache.set({"q": 1}, 1)
    store.fail("scan")
    assert [entry async for entry in cache.entries()] == []


async def test_an_entry_is_deleted_by_its_key() -> None:
    cache: Cache[str] = Cache("memory://", ttl=60)
    view = cache.scoped("faq")
    await view.set({"q": 1}, "wrong")
    assert await view.get({"q": 1}) == "wrong"
    assert await cache.delete_keys([view.key({"q": 1})]) == 1
    assert await view.get({"q": 1}) is None
    assert await cache.delete_keys([view.key({"q": 1})]) == 0
    for other in (cache.scoped("other").key({"q": 1}), "nonsense", ""):
        with pytest.raises(OptionsError, match="is no key of an answer here"):
            await view.delete_keys([other])


def test_the_synchronous_face() -> None:
    with SyncCache("memory://", ttl=60) as cache:
        cache.set({"q": 1}, "here")
        (entry,) = cache.entries()
        assert entry.load() == "here"
        assert cache.delete_keys([entry.key]) == 1
        assert cache.entries() == []


@virtual
async def test_a_computed_answer_tells_why_it_was_computed(scene: Scene) -> None:
    cache = scene.cache(ttl=10, stale_if_error=60)

    async def answer() -> str:
        return "answer"

    assert (await cache.lookup({"q": 1}, answer)).reason == "absent"
    assert (await cache.lookup({"q": 1}, answer)).reason is None
    await asyncio.sleep(71)
    assert (await cache.lookup({"q": 1}, answer)).reason in ("expired", "absent")
    await cache.delete({"q": 1})
    assert (await cache.lookup({"q": 1}, answer)).reason == "deleted"
    await cache.invalidate_all()
    assert (await cache.lookup({"q": 1}, answer)).reason in ("absent", "invalidated")
