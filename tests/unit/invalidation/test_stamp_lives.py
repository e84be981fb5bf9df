"""A stamp lives as long as the entries that carry it need it, and not much longer."""

from __future__ import annotations

import asyncio
import math

import pytest

from cachecore import Cache
from cachecore.contract.protocols import SupportsExtend
from cachecore.store.memory_backend import MemoryBackend
from cachecore.testing.faulty import FaultyBackend
from tests.unit.virtual_caches import Answer, Scene, soon, virtual

LASTING = {"cc:s:n", "cc.m:"}
"""The root's stamp and the mark."""


def lasting(scene: Scene) -> set[str]:
    """Return the keys in the store that have no end."""
    return {key for key, (_, ends, _) in scene.memory._values.items() if ends is None}


def left(scene: Scene, key: str) -> float:
    """Return the seconds that a key of the store still lives."""
    ends = scene.memory._values[key][1]
    return math.inf if ends is None else ends - scene.clock.monotonic()


@virtual
async def test_namespaces_and_tags_leave_no_key_behind(scene: Scene) -> None:
    """Whatever the number of sessions: when their answers are gone, so are their stamps."""
    cache = scene.cache(ttl=1)
    for number in range(200):
        session = cache.scoped(f"session-{number}", tags=[f"user:{number}"])
        await session.set("q", number)
        await session.get_or_set("computed", Answer())
    assert lasting(scene) == LASTING
    await asyncio.sleep(3 * (1 + 1))
    stored = [key async for page in scene.memory.scan("") for key in page]
    assert set(stored) == LASTING


@pytest.mark.parametrize("ttl", [0.01, 1.0, 60.0, 30 * 86_400.0])
def test_no_stamp_outlives_its_longest_entry_by_more_than_twice(ttl: float) -> None:
    """Entries are kept a second longer than they are served, for stores that round; that second counts."""

    @virtual
    async def test(scene: Scene) -> None:
        cache = scene.cache(ttl=ttl)
        view = cache.scoped("faq", tags=["doc:1"])
        for number in range(40):  # written all along a stamp's life
            await view.set(number, number)
            entry = left(scene, view.key(number))
            for stamp in ("cc:s:n%2Ffaq", "cc:s:t%2Fdoc%3A1"):
                assert entry <= left(scene, stamp) <= 2 * entry + 0.001
            await asyncio.sleep(ttl / 10)

    test()


@virtual
async def test_entry_for_ever_keeps_its_stamps_for_ever(scene: Scene) -> None:
    cache = scene.cache(l1_max_entries=0)
    view = cache.scoped("faq", tags=["doc:1"])
    await view.set("short", 1, ttl=1)
    await view.set("ever", 2, ttl=None)
    assert {"cc:s:n%2Ffaq", "cc:s:t%2Fdoc%3A1"} <= lasting(scene)


@virtual
async def test_shorter_ttl_of_another_process_shortens_no_stamp(scene: Scene) -> None:
    """Two deployments with two ttls write under one namespace and one tag; the long answers stay hits."""
    long, short = scene.cache(ttl=3600, l1_max_entries=0), scene.cache(ttl=1, l1_max_entries=0)
    await long.scoped("faq").set("long", "value", tags=["doc:1"])
    for number in range(50):
        await short.scoped("faq").set(number, "value", tags=["doc:1"])
        await short.scoped("faq").get_or_set(("computed", number), Answer(), tags=["doc:1"])
        await asyncio.sleep(2.5)
    await asyncio.sleep(3000)
    assert await long.scoped("faq").get("long") == "value"


@virtual
async def test_longer_ttl_of_another_process_is_served_to_its_end(scene: Scene) -> None:
    """A stamp that a short-lived answer made serves a long-lived one: it is prolonged before that is stored."""
    short, long = scene.cache(ttl=1, l1_max_entries=0), scene.cache(ttl=3600, l1_max_entries=0)
    await short.scoped("faq").set("q", "value")
    await long.scoped("faq").get_or_set("computed", Answer())
    await long.scoped("faq").set("set", "value")
    await asyncio.sleep(3500)
    assert await long.scoped("faq").get("computed") == 1
    assert await long.scoped("faq").get("set") == "value"


@virtual
async def test_what_is_known_of_a_stamp_is_not_believed_of_its_successor(scene: Scene) -> None:
    """Another process invalidates and makes a stamp that lives for seconds; this one's answers last all the same."""
    long, short = scene.cache(ttl=3600, l1_max_entries=0), scene.cache(ttl=1, l1_max_entries=0)
    await long.scoped("faq").set("before", "value")
    await short.invalidate_prefix("faq")
    await short.scoped("faq").set("short", "value")
    await long.scoped("faq").set("after", "value")
    await asyncio.sleep(3000)
    assert await long.scoped("faq").get("after") == "value"


@virtual
async def test_factory_that_takes_longer_than_the_stamps_live_is_stored(scene: Scene) -> None:
    """The stamps read before it ran are kept while it runs, those pinned meanwhile as well."""
    cache = scene.cache(ttl=1, l1_max_entries=0).scoped("faq")

    async def slow() -> str:
        await cache.pin_tag("doc:2")
        await asyncio.sleep(60)
        return "answer"

    assert await cache.get_or_set("q", slow, tags=["doc:1"]) == "answer"
    assert await cache.get("q", None) == "answer"
    assert cache.stats.not_stored == {}


@virtual
async def test_stamp_that_is_about_to_end_is_kept_for_a_computation(scene: Scene) -> None:
    """Another process made it long ago: this one cannot know how long it lives, and asks for more at once."""
    one, two = scene.cache(ttl=10, l1_max_entries=0), scene.cache(ttl=10, l1_max_entries=0)
    await one.scoped("faq").set("q", "value")
    await asyncio.sleep(left(scene, "cc:s:n%2Ffaq") - 0.5)
    assert await two.scoped("faq").get_or_set("q", Answer(2.0)) == 1
    assert await two.scoped("faq").get("q") == 1


@virtual
async def test_batch_whose_factory_is_slow_is_stored(scene: Scene) -> None:
    cache = scene.cache(ttl=1, l1_max_entries=0).scoped("faq")

    async def slow(names: list[int]) -> dict[int, int]:
        await asyncio.sleep(60)
        return {name: name for name in names}

    await cache.get_or_set_many(list(range(20)), slow)
    assert await cache.get_many(list(range(20))) == dict(zip(range(20), range(20), strict=True))


@virtual
async def test_invalidation_during_a_long_computation_is_not_undone(scene: Scene) -> None:
    """A stamp that was deleted is not prolonged into being again."""
    one, two = scene.cache(ttl=1, l1_max_entries=0), scene.cache(ttl=1, l1_max_entries=0)
    (asked,) = await soon(lambda: one.scoped("faq").get_or_set("q", Answer(60), tags=["doc:1"]), 1)
    await asyncio.sleep(20)
    await two.invalidate_tags("doc:1")
    assert await asked == 1
    assert await one.scoped("faq").get("q", tags=["doc:1"]) is None


@virtual
async def test_many_misses_prolong_a_stamp_once(scene: Scene) -> None:
    """A process that comes to a store in use asks once for each stamp, however many answers it computes."""
    one, two = scene.cache(), scene.cache()
    await one.scoped("faq").set("q", "value")
    scene.store.calls.clear()
    await asyncio.gather(*(two.scoped("faq").get_or_set(number, Answer()) for number in range(100)))
    assert scene.store.count("extend") == 1
    await asyncio.gather(*(two.scoped("faq").get_or_set(-number, Answer()) for number in range(1, 100)))
    assert scene.store.count("extend") == 1


@virtual
async def test_store_that_cannot_lengthen_lives_keeps_namespaces_for_ever(scene: Scene) -> None:
    """There, one process's renewal could shorten what another asked for: namespaces have no end, tags live for days."""

    class Plain(FaultyBackend):
        def __init__(self, inner: MemoryBackend) -> None:
            super().__init__(inner)
            del self.extend

    store = Plain(scene.memory)
    assert not isinstance(store, SupportsExtend)
    cache: Cache[object] = scene.cache(store, ttl=1)
    await cache.scoped("faq").set("q", "value", tags=["doc:1"])
    assert lasting(scene) == LASTING | {"cc:s:n%2Ffaq"}
    assert left(scene, "cc:s:t%2Fdoc%3A1") >= 86_000
