"""What is served of what lies in the store: only what passes every check."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from cachecore import Cache
from cachecore.encoding.entry import draft, seal
from cachecore.store.memory_backend import MemoryBackend
from cachecore.testing.faulty import FaultyBackend
from tests.unit.virtual_caches import Answer, Scene, virtual

from .test_batches import Answers


async def bytes_of(scene: Scene, cache: Cache[Any], request: Any) -> bytes:
    (data,) = await scene.memory.get_many([cache.key(request)])
    assert data is not None
    return data


@virtual
async def test_bytes_under_another_key_are_not_served(scene: Scene) -> None:
    cache = scene.cache(l1_max_entries=0)
    await cache.set("a", "mine")
    await scene.memory.set_many({cache.key("b"): await bytes_of(scene, cache, "a")}, ttl=60)
    assert await cache.get("b") is None
    assert cache.stats.rejected == {"key": 1}
    assert await cache.get_or_set("b", Answer()) == 1
    assert await cache.get("b") == 1


@virtual
async def test_every_damage_is_a_miss_that_is_counted_and_can_be_stored_over(scene: Scene) -> None:
    cache = scene.cache(l1_max_entries=0)
    await cache.set("q", "whole")
    whole = await bytes_of(scene, cache, "q")
    for number in range(0, len(whole), 3):
        for damaged in (whole[:number], whole[:number] + bytes([whole[number] ^ 1]) + whole[number + 1 :]):
            await scene.memory.set_many({cache.key("q"): damaged}, ttl=60)
            assert await cache.get("q", "none") == "none", number
    assert sum(cache.stats.rejected.values()) == 2 * len(range(0, len(whole), 3))
    assert await cache.get_or_set("q", Answer()) == 1


@virtual
async def test_what_a_newer_version_wrote_is_left_alone(scene: Scene) -> None:
    cache = scene.cache(l1_max_entries=0)
    await cache.set("q", "old")
    newer = bytearray(await bytes_of(scene, cache, "q"))
    newer[1] += 16
    await scene.memory.set_many({cache.key("q"): bytes(newer)}, ttl=60)
    assert (await cache.lookup("q")).reason == "version"
    assert await cache.get_or_set("q", Answer()) == 1
    assert cache.stats.not_stored == {"newer": 1}
    assert await bytes_of(scene, cache, "q") == bytes(newer)


@virtual
async def test_entries_of_another_serializer_are_misses(scene: Scene) -> None:
    text, packed = scene.cache(serializer="json", l1_max_entries=0), scene.cache(l1_max_entries=0)
    await text.set("q", ["a"])
    assert (await packed.lookup("q")).reason == "absent"  # each format has keys of its own
    (entry,) = await scene.memory.get_many([text.key("q")])
    assert entry is not None
    packed._scope.keys, packed._scope.key_of = text._scope.keys, text._scope.key_of  # as if it had not
    packed._use(packed._scope)
    assert (await packed.lookup("q")).reason == "serializer"
    assert await packed.get_or_set("q", Answer()) == 1
    assert (await text.lookup("q")).reason == "serializer"


@virtual
async def test_a_value_that_cannot_be_decoded_is_a_miss(scene: Scene) -> None:
    cache = scene.cache(l1_max_entries=0)
    await cache.set("q", "old")
    seen = (await cache.lookup("q")).version.entry
    made = draft(
        seen.key,
        created=seen.created,
        compute_time=0.0,
        fresh_until=seen.fresh_until,
        dead_until=seen.dead_until,
        serializer=seen.serializer,
        stamps=seen.stamps,
        metadata=None,
        served_by=None,
    )
    await scene.memory.set_many({cache.key("q"): seal(made, b"\xc1 no value")}, ttl=60)
    assert await cache.get("q") is None
    assert cache.stats.rejected == {"payload": 1}
    assert await cache.get_or_set("q", Answer()) == 1


@virtual
async def test_entries_over_the_limit_are_not_decoded(scene: Scene) -> None:
    large, small = scene.cache(), scene.cache(max_value_bytes=1024)
    await large.set("q", "x" * 4096)
    assert await small.get("q") is None
    assert small.stats.rejected == {"length": 1}


@virtual
async def test_tags_found_only_in_an_entry_cost_one_more_read(scene: Scene) -> None:
    """Known tags travel with the entry; a hit is served only when every stamp it names has been seen."""
    writer = scene.cache()
    await writer.set("q", "v", tags=["t"])

    async def reads(**options: Any) -> int:
        reader = scene.cache(l1_max_entries=0)
        await reader.get("other")  # the clock has been asked
        scene.store.calls.clear()
        assert await reader.get("q", **options) == "v"
        return scene.store.count("get_many")

    assert (await reads(tags=["t"]), await reads()) == (1, 2)
    reader = scene.cache(l1_max_entries=0)
    await reader.get("other")
    (stamp,) = (name for name in scene.memory._values if name.startswith("cc:s:") and name.endswith("t"))
    scene.store.fail("get_many", prefix=stamp)
    assert (await reader.lookup("q")).reason == "store"


class SlowReads(MemoryBackend):
    """A store whose answers are on their way for a while."""

    seconds = 0.0

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        values = await super().get_many(keys)
        await asyncio.sleep(self.seconds)
        return values


@pytest.mark.parametrize("late", [False, True])
def test_no_copy_is_kept_of_what_changed_while_it_was_read(late: bool) -> None:
    """The read began before the change, and came back after it."""

    @virtual
    async def check(scene: Scene) -> None:
        store = SlowReads(clock=scene.clock)
        cache = scene.cache(store, l1_max_age=60)
        await cache.set("q", "old")
        cache._engine.l1.clear()
        store.seconds = 0.02
        reading = asyncio.ensure_future(cache.get("q"))
        await asyncio.sleep(0.001)
        if late:
            await cache.set("q", "new")
        assert await reading == "old"
        assert cache.peek("q") == ("new" if late else "old")
        assert await cache.get("q") == ("new" if late else "old")

    check()


class _OneByOne(FaultyBackend):
    """A store that reads one batch after the other, each in 5 ms, as a database with one connection does."""

    turn: asyncio.Lock

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        async with self.turn:
            await asyncio.sleep(0.005)
            return await super().get_many(keys)


@virtual
async def test_a_batch_of_any_size_is_read_from_a_store_that_is_not_that_fast(scene: Scene) -> None:
    """All reads of 10,000 keys, sent at once, would have one deadline: the last ones would count as late."""
    store = _OneByOne(scene.memory)
    store.turn = asyncio.Lock()
    cache = scene.cache(store, l1_max_entries=0, backend_timeout=0.05)
    names = [str(number) for number in range(10_000)]
    await cache.get("0")  # the round trip is known from here on
    assert all(await cache.set_many(dict.fromkeys(names, "stored")))
    assert len(await cache.get_many(names)) == len(names)
    factory = Answers()
    await cache.get_or_set_many(names, factory)
    assert factory.calls == []
