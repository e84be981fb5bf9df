"""A store in this process: hits in memory look into it, so they are always coherent, and there is one payload."""

from __future__ import annotations

import asyncio
import random
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cachecore import Cache, SyncCache
from cachecore.contract import SupportsLocal
from cachecore.store.memory_backend import MemoryBackend
from tests.unit.virtual_caches import Answer, Scene, virtual


def local(scene: Scene, **options: Any) -> Cache[Any]:
    """Return a cache on the scene's store itself."""
    return scene.cache(scene.memory, **options)


@virtual
async def test_hits_stay_in_memory_for_as_long_as_they_are_fresh(scene: Scene) -> None:
    """There is nothing to distrust after `l1_max_age`."""
    cache = local(scene, ttl=3600)
    await cache.set("q", {"a": [1, 2, 3]})
    for _ in range(50):
        await asyncio.sleep(60)
        assert cache.peek("q") == {"a": [1, 2, 3]}
    assert (cache.stats.hits_l1, cache.stats.hits_l2) == (50, 0)
    await asyncio.sleep(3600)
    assert cache.peek("q") is None


@virtual
async def test_another_cache_on_the_same_store_is_seen_at_once(scene: Scene) -> None:
    """Every way to change an answer, through another cache, between two hits of this one."""
    one, two = local(scene), local(scene)
    for change in (
        lambda: two.set("q", "new"),
        lambda: two.delete("q"),
        lambda: two.expire("q"),
        lambda: two.invalidate_tags("t"),
        lambda: two.invalidate_all(),
        lambda: two.refresh("q", Answer()),
    ):
        await one.set("q", "old", tags=["t"])
        assert one.peek("q") == "old"
        await change()
        assert one.peek("q") in (None, "new", 1)
        assert await one.get("q") != "old"


@virtual
async def test_what_the_store_evicts_is_gone(scene: Scene) -> None:
    """A copy keeps no bytes of its own, so there is nothing left to serve."""
    small = MemoryBackend(max_bytes=20_000, clock=scene.clock)  # stamps are read by each write, so they stay
    cache = scene.cache(small)
    for number in range(40):
        await cache.set(number, "x" * 1000)
    held = [number for number in range(40) if cache.peek(number) is not None]
    assert held == list(range(40 - len(held), 40))
    assert 10 < len(held) < 20


@virtual
async def test_values_are_the_callers_own(scene: Scene) -> None:
    cache = local(scene)
    await cache.set("q", {"a": [1]})
    first = cache.peek("q")
    assert first is not None
    first["a"].append(2)
    assert cache.peek("q") == {"a": [1]}


@pytest.mark.parametrize("serializer", ["msgpack", "json"])
def test_each_serializer_reads_what_lies_in_the_store(serializer: str) -> None:
    with SyncCache[Any]("memory://", ttl=60, serializer=serializer) as cache:
        for number, value in enumerate(("text", {"a": 1.5}, [None, True], "x" * 10_000, "")):
            cache.set(number, value)
            assert cache.peek(number) == value


async def test_there_is_one_payload() -> None:
    """What an answer costs beside its value is less than a second one would."""
    chance = random.Random(1)
    async with Cache[str]("memory://", ttl=3600) as cache:
        await cache.set("first", "x")
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        for number in range(300):
            await cache.set(number, chance.randbytes(4_000).hex())
            assert cache.peek(number) is not None
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert 8_000 < (after - before) / 300 < 8_000 + 3_000


async def test_look_tells_writes_apart() -> None:
    """Also those of equal bytes: what was checked of one says nothing of the other."""
    backend = MemoryBackend()
    assert isinstance(backend, SupportsLocal)
    await backend.set_many({"k": b"v"}, ttl=60)
    first = backend.look("k")
    await backend.delete_many(["k"])
    assert backend.look("k") is None
    await backend.set_many({"k": b"v"}, ttl=60)
    second = backend.look("k")
    assert first is not None
    assert second is not None
    assert (first[0], second[0]) == (b"v", b"v")
    assert first[1] != second[1]


async def test_every_change_of_the_store_has_a_version_of_its_own() -> None:
    """A copy that was looked at under a version is looked at again after any change."""
    backend = MemoryBackend(max_bytes=100)
    seen = [backend.version]

    def changed() -> None:
        assert backend.version > seen[-1]
        seen.append(backend.version)

    await backend.set_many({"a": b"1"}, ttl=60)
    changed()
    first = backend.look("a")
    await backend.set_many({"a": b"1"}, ttl=60)
    changed()
    assert backend.look("a") != first
    assert await backend.swap("a", b"1", b"2", ttl=60)
    changed()
    await backend.advance("mark")
    changed()
    await backend.delete_many(["a"])
    changed()
    await backend.set_many({"large": bytes(90)}, ttl=60)  # evicts
    changed()
    await backend.aclose()
    changed()


@virtual
async def test_the_first_hit_makes_the_copy_and_not_the_write(scene: Scene) -> None:
    """An entry that is not read takes no memory for one; that there is none yet is not seen from outside."""
    cache = local(scene)
    await cache.set_many(dict.fromkeys(range(100), "x" * 1000), tags=["t"])
    assert await cache.get_or_set("computed", Answer()) == 1
    assert cache.stats.l1_entries == 0
    with ThreadPoolExecutor(1) as thread:  # without a loop
        assert thread.submit(cache.peek, 7).result() == "x" * 1000
    assert (await cache.lookup(8)).tier == "l1"
    assert await cache.get("computed") == 1
    assert cache.stats.l1_entries == 3
    await cache.invalidate_tags("t")
    assert [cache.peek(number) for number in range(100)] == [None] * 100


@virtual
async def test_no_copy_is_made_of_what_is_not_served(scene: Scene) -> None:
    """By the rules of any read; bytes that are rejected are counted once."""
    cache = local(scene)
    for name in ("expired", "deleted", "damaged"):
        await cache.set(name, "old", ttl=5 if name == "expired" else 60)
    await cache.delete("deleted")
    await asyncio.sleep(6)
    await scene.memory.set_many({cache.key("damaged"): b"\xc1 no entry of ours, but long enough"}, ttl=60)
    assert [cache.peek(name) for name in ("expired", "deleted", "damaged")] == [None] * 3
    assert cache.stats.rejected == {}
    assert await cache.get("damaged") is None
    assert sum(cache.stats.rejected.values()) == 1
