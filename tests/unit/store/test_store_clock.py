"""The clocks of hosts are never compared: what counts is the store's."""

from __future__ import annotations

import asyncio

from cachecore.contract.tokens import STAMP_BYTES
from cachecore.encoding.entry import encode
from cachecore.store.memory_backend import MemoryBackend
from cachecore.store.store_clock import MEASURE_EVERY
from tests.unit.virtual_caches import Answer, Scene, virtual


class Skewed(MemoryBackend):
    """A store whose clock is an hour off."""

    skew = 3600.0

    async def time(self) -> float:
        return await super().time() + self.skew


@virtual
async def test_store_whose_clock_is_off_changes_nothing(scene: Scene) -> None:
    """Ahead or behind: what one process writes first of all, the other reads, and it ends when it should."""
    for skew in (3600.0, -3600.0):
        store = Skewed(clock=scene.clock)
        store.skew = skew
        one, two = scene.cache(store, ttl=10), scene.cache(store, ttl=10)
        await one.set("q", "value")
        assert await two.get("q") == "value"
        assert await two.get_or_set("r", Answer()) == 1
        assert await one.get("r") == 1
        await asyncio.sleep(9.5)
        assert (await one.get("q"), await two.get("r")) == ("value", 1)
        await asyncio.sleep(0.6)
        assert (await one.get("q"), await two.get("r")) == (None, None)
        assert not one.stats.rejected


@virtual
async def test_all_first_readers_wait_for_the_clock(scene: Scene) -> None:
    """An entry that ended by the store's clock is not fresh to whoever asks in the same tick as the first."""
    store = Skewed(clock=scene.clock)
    writer, reader = scene.cache(store, ttl=1800), scene.cache(store, ttl=1800)
    await writer.set("q", "old")
    store.skew += 3600  # two hours: the entry has ended half an hour ago
    assert await asyncio.gather(*(reader.get("q") for _ in range(5))) == [None] * 5


@virtual
async def test_measured_once_a_minute_however_many_read(scene: Scene) -> None:
    cache = scene.cache(l1_max_entries=0)
    for _ in range(3):
        await asyncio.gather(*(cache.get("q") for _ in range(50)))
        await asyncio.sleep(MEASURE_EVERY + 1)
    assert scene.store.count("time") == 3


@virtual
async def test_entry_from_the_future_is_rejected(scene: Scene) -> None:
    cache = scene.cache()
    await cache.set("q", "value")
    key, now = cache.key("q"), scene.clock.time()
    (root,) = await scene.memory.get_many(["cc:s:n"])
    assert root is not None
    assert len(root) == STAMP_BYTES
    for ahead, expected in ((0.5, 7), (1.5, None)):
        data = encode(
            key, b"\x07", created=now + ahead, fresh_until=now + 60, dead_until=now + 60, serializer="msgpack",
            stamps=[("n", root)],
        )  # fmt: skip
        await scene.memory.set_many({key: data}, ttl=60)
        assert await scene.cache().get("q") == expected
