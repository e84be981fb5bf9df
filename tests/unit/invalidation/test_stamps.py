"""Invalidation by stamps: immediate, for everybody, at the cost of a key; what is lost means misses."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from cachecore.encoding.claim import CLAIM_BYTES
from cachecore.encoding.entry import TOMBSTONE_BYTES
from tests.unit.virtual_caches import Answer, Scene, soon, virtual


@virtual
async def test_tag_is_invalidated_for_every_process_with_one_delete(scene: Scene) -> None:
    """Whatever the number of entries: one key, and the mark right behind it."""
    one, two = scene.cache(l1_max_entries=0), scene.cache(l1_max_entries=0)
    for number in range(50):
        await one.set(number, number, tags=["doc:42"])
    scene.store.calls.clear()
    await one.invalidate_tags("doc:42")
    asked = [(call.operation, len(call.keys)) for call in scene.store.calls]
    assert asked == [("delete_many", 1), ("advance", 1)]  # sent together
    assert [await two.get(number) for number in range(50)] == [None] * 50


@virtual
async def test_lost_stamps_mean_misses_and_never_resurrections(scene: Scene) -> None:
    cache = scene.cache(l1_max_entries=0)
    await cache.set("q", "old", tags=["t"])
    (entry,) = await scene.memory.get_many([cache.key("q")])
    assert entry is not None
    stamps = [key for key in scene.memory._values if ":s:" in key]
    for stamp in stamps:
        await scene.memory.delete_many([stamp])
        assert await cache.get("q") is None
    assert await cache.get_or_set("q", Answer(), tags=["t"]) == 1  # new stamps under the old names
    await scene.memory.set_many({cache.key("q"): entry}, ttl=60)
    assert await cache.get("q") is None


@virtual
async def test_answer_overtaken_by_an_invalidation_is_born_dead(scene: Scene) -> None:
    one, two = scene.cache(), scene.cache()
    (asked,) = await soon(lambda: one.get_or_set("q", Answer(1), tags=["t"]), 1)
    await two.invalidate_tags("t")
    assert await asked == 1
    assert (await one.get("q"), await two.get("q")) == (None, None)


@virtual
async def test_answer_overtaken_by_a_delete_or_a_set_does_not_land(scene: Scene) -> None:
    """However short-lived what was set: it stands in the way for as long as a computation may take."""
    one, two = scene.cache(), scene.cache()
    (asked,) = await soon(lambda: one.get_or_set("deleted", Answer(30)), 1)
    await two.delete("deleted")
    (also,) = await soon(lambda: one.get_or_set("set", Answer(30)), 1)
    await two.set("set", "newer", ttl=1)
    assert (await asked, await also) == (1, 1)
    assert (await one.get("deleted"), await one.get("set")) == (None, None)
    assert one.stats.not_stored == {"changed": 2}


@virtual
async def test_tombstones_of_one_moment_differ(scene: Scene) -> None:
    """Who read the first must not store over the second, even if both were written in one tick of the clock."""
    cache = scene.cache()
    await cache.delete("q")
    (first,) = await scene.memory.get_many([cache.key("q")])
    await cache.delete("q")
    (second,) = await scene.memory.get_many([cache.key("q")])
    assert first != second


@virtual
async def test_pinned_tag_protects_what_is_read_after_it(scene: Scene) -> None:
    cache = scene.cache()

    async def late() -> str:
        await cache.pin_tag("doc")
        await asyncio.sleep(1)
        return "answer"

    (asked,) = await soon(lambda: cache.get_or_set("q", late), 1)
    await cache.invalidate_tags("doc")
    assert await asked == "answer"
    assert await cache.get("q") is None


@virtual
async def test_pinning_in_another_caches_factory_does_nothing(scene: Scene) -> None:
    outer, inner = scene.cache(), scene.cache(namespace="other")

    async def factory() -> str:
        await inner.pin_tag("doc")
        return "answer"

    assert await outer.get_or_set("q", factory) == "answer"
    assert await outer.get("q") == "answer"


@virtual
async def test_invalidations_count_entries_and_not_tombstones(scene: Scene) -> None:
    cache = scene.cache()
    faq, other = cache.scoped("faq"), cache.scoped("faqs")
    for number in range(7):
        await faq.scoped("v3").set(number, "value")
    await faq.set("x", "value")
    await other.set("x", "value")
    assert await faq.delete("x")
    assert await cache.invalidate_prefix("faq") == 7
    assert await cache.invalidate_all() == 1
    assert await other.get("x") is None


@virtual
async def test_entries_as_short_as_a_tombstone_or_a_claim_are_counted(scene: Scene) -> None:
    """Lengths tell marks from most entries, and the bytes themselves from the others."""
    cache = scene.cache(ttl=None)
    lengths = range(60)
    for length in lengths:
        await cache.set(length, "x" * length)
        await cache.scoped("finite").set(length, "x" * length, ttl=60)
    await cache.set("deleted", 1)
    await cache.delete("deleted")
    sizes = {len(value or b"") for value in await scene.memory.get_many([cache.key(n) for n in lengths])}
    assert {TOMBSTONE_BYTES, CLAIM_BYTES} <= sizes
    assert await cache.invalidate_all() == 2 * len(lengths)


@virtual
async def test_counting_deletes_no_protection_of_a_delete(scene: Scene) -> None:
    """A delete during an invalidation: the computation that began before it does not land after both."""
    cache = scene.cache()
    await cache.set("other", "value")
    (asked,) = await soon(lambda: cache.get_or_set("q", Answer(5)), 1)
    await cache.delete("q")
    await cache.invalidate_all()
    assert await asked == 1
    assert await cache.get("q") is None


@virtual
async def test_damaged_stamp_is_replaced(scene: Scene) -> None:
    cache = scene.cache()
    await scene.memory.set_many({"cc:s:n": b"damaged"}, ttl=None)
    await cache.set("q", "value")
    assert await scene.cache().get("q") == "value"


@virtual
async def test_entry_for_ever_outlives_the_stamp_of_a_short_one(scene: Scene) -> None:
    """A tag's stamp made for a short-lived entry is renewed when a longer-lived one carries the tag."""
    cache = scene.cache(l1_max_entries=0)
    await cache.set("short", "value", ttl=1, tags=["t"])
    await cache.set("ever", "value", ttl=None, tags=["t"])
    await asyncio.sleep(100 * 86_400)
    assert await cache.get("ever") == "value"


@virtual
async def test_set_since_a_lookup_is_refused_after_any_change(scene: Scene) -> None:
    cache = scene.cache(l1_max_entries=0)

    async def around(change: Callable[[], Awaitable[object]]) -> None:
        assert await cache.set("q", "first", since=await cache.lookup("q"))
        seen = await cache.lookup("q")
        await change()
        assert not await cache.set("q", "second", since=seen)
        await cache.delete("q")

    await around(lambda: cache.delete("q"))
    await around(lambda: cache.set("q", "newer"))
    await around(cache.invalidate_all)


@virtual
async def test_caller_who_is_cancelled_leaves_a_whole_write(scene: Scene) -> None:
    """The write is carried through, and no copy older than it stays in memory."""
    cache = scene.cache(backend_timeout=5)
    await cache.set("q", "old")
    assert await cache.get("q") == "old"
    scene.store.delay("set_many", 1.0)
    (setting,) = await soon(lambda: cache.set("q", "new"), 1)
    setting.cancel()
    await asyncio.sleep(0.5)
    await cache.get("q")
    await asyncio.sleep(1)
    assert await cache.get("q") == "new"
