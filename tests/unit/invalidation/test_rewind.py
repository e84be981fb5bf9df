"""A store that goes back in time brings no invalidated answer back, and costs as few answers as it can."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from cachecore import Cache
from cachecore.contract.errors import BackendError
from cachecore.contract.protocols import Alive, FeedEvent, Lost
from cachecore.store.memory_backend import MemoryBackend
from cachecore.testing.virtual import VirtualClock
from tests.unit.virtual_caches import Answer, Scene, virtual

MARK, ROOT = "cc.m:", "cc:s:n"


def snapshot(scene: Scene) -> dict[str, tuple[bytes, float | None, int]]:
    return dict(scene.memory._values)


def restore(scene: Scene, saved: dict[str, tuple[bytes, float | None, int]]) -> None:
    scene.memory._values = dict(saved)


def value(scene: Scene, key: str) -> bytes | None:
    return scene.memory._live(key, scene.clock.monotonic())


def invalidate(cache: Cache[Any], how: str) -> Any:
    calls: dict[str, Any] = {
        "delete": lambda: cache.delete("q"),
        "set": lambda: cache.set("q", "new"),
        "expire": lambda: cache.expire("q"),
        "invalidate_tags": lambda: cache.invalidate_tags("t"),
        "invalidate_all": lambda: cache.invalidate_all(),
    }
    return calls[how]()


@pytest.mark.parametrize("how", ["delete", "set", "expire", "invalidate_tags", "invalidate_all"])
def test_snapshot_brings_nothing_back(how: str) -> None:
    """The invalidation is too long ago to be remembered: one of the processes invalidates the root, once."""

    @virtual
    async def run(scene: Scene) -> None:
        caches = [scene.cache(l1_max_entries=0) for _ in range(3)]
        await caches[0].set("q", "old", tags=["t"])
        saved = snapshot(scene)
        await invalidate(caches[0], how)
        for cache in caches:
            await cache.get("another")  # so that each knows of it
        await asyncio.sleep(10)
        restore(scene, saved)
        scene.store.calls.clear()
        for _ in range(5):
            assert [await cache.get("q") for cache in caches] == [None] * 3
            await asyncio.sleep(0)
        assert value(scene, ROOT) is None
        assert [(await cache.health())["marks"] for cache in caches] == ["ok"] * 3
        assert await caches[1].get_or_set("q", Answer()) == 1
        assert await caches[2].get("q") == 1

    run()


@virtual
async def test_what_is_remembered_is_sent_again_and_nothing_else_is_lost(scene: Scene) -> None:
    cache = scene.cache(l1_max_entries=0)
    for name in ("deleted", "replaced", "kept"):
        await cache.set(name, "old")
    await cache.set("tagged", "old", tags=["t"])
    saved, root = snapshot(scene), value(scene, ROOT)
    await cache.delete("deleted")
    await cache.set("replaced", "new")
    await cache.invalidate_tags("t")
    await asyncio.sleep(2)
    restore(scene, saved)
    for _ in range(20):
        assert [await cache.get(name) for name in ("deleted", "replaced", "tagged")] == [None] * 3
        await asyncio.sleep(0.1)
    assert value(scene, ROOT) == root
    assert await cache.get("kept") == "old"


@virtual
async def test_own_advance_shows_that_the_store_has_gone_back(scene: Scene) -> None:
    """A process that only invalidates reads no mark."""
    cache, reader = scene.cache(l1_max_entries=0), scene.cache(l1_max_entries=0)
    await cache.set("q", "old", tags=["t"])
    saved = snapshot(scene)
    for _ in range(3):
        await cache.invalidate_tags("t")
    await asyncio.sleep(1)
    restore(scene, saved)
    assert await reader.get("q") == "old"  # it knew of none of it
    await cache.invalidate_tags("other")
    await asyncio.sleep(0.5)
    assert await reader.get("q") is None


@virtual
async def test_alarm_is_not_forgotten_when_others_raise_the_mark(scene: Scene) -> None:
    """Their new invalidations hide as many that were lost, but not from a process that has seen it."""
    cache, other = scene.cache(l1_max_entries=0), scene.cache(l1_max_entries=0)
    await cache.set("q", "old")
    await other.get("q")
    saved = snapshot(scene)
    await cache.delete("q")
    await asyncio.sleep(10)
    restore(scene, saved)
    scene.store.fail("swap", prefix=ROOT)
    assert await cache.get("q") is None
    await asyncio.sleep(0.1)
    for _ in range(3):
        await other.invalidate_tags("unrelated")
    assert await cache.get("q") is None
    assert (await cache.health())["marks"] == "behind"
    scene.store.heal()
    assert await cache.get("q") is None
    await asyncio.sleep(0.1)
    assert await other.get("q") is None
    assert (await cache.health())["marks"] == "ok"


@virtual
async def test_an_advance_that_crosses_with_the_repair_raises_no_second_alarm(scene: Scene) -> None:
    """Its number is of before: another alarm would let nothing be trusted for a minute."""
    cache = scene.cache(l1_max_entries=0)
    await cache.set("q", "old")
    saved = snapshot(scene)
    await cache.delete("q")
    await cache.invalidate_tags("two are lost")
    await asyncio.sleep(10)
    restore(scene, saved)
    advance, answered = scene.memory.advance, asyncio.Event()

    async def late(key: str) -> int:
        number = await advance(key)
        await answered.wait()
        return number

    scene.memory.advance = late  # type: ignore[method-assign] # the real one, with a slow way back
    invalidating = asyncio.ensure_future(cache.invalidate_tags("t"))
    await asyncio.sleep(0.01)
    scene.memory.advance = advance  # type: ignore[method-assign] # later calls are answered at once
    assert await cache.get("q") is None
    await asyncio.sleep(0.1)
    assert (await cache.health())["marks"] == "ok"
    answered.set()
    await invalidating
    assert (await cache.health())["marks"] == "ok"
    assert await cache.set("q", "new")
    assert await cache.get("q") == "new"


@virtual
async def test_store_that_goes_back_again_within_a_minute_is_not_trusted_until_it_is_over(scene: Scene) -> None:
    cache = scene.cache(ttl=600, l1_max_entries=0)
    warnings: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: warnings.append(record.getMessage())  # type: ignore[method-assign] # records nothing else
    logging.getLogger("cachecore").addHandler(handler)
    try:
        for turn in range(2):
            await cache.set("q", "old")
            saved = snapshot(scene)
            await cache.delete("q")
            await asyncio.sleep(10)
            restore(scene, saved)
            assert await cache.get("q") is None
            await asyncio.sleep(0.1)
            assert await cache.get("q") is None
            assert (await cache.health())["marks"] == ("behind" if turn else "ok")
        assert value(scene, ROOT) is not None
        for _ in range(20):
            assert await cache.get("q") is None
            assert await cache.get_or_set("another", Answer()) == 1
        await asyncio.sleep(60)
        assert await cache.get("q") is None
        await asyncio.sleep(0.1)
        assert value(scene, ROOT) is None
        assert (await cache.health())["marks"] == "ok"
        assert await cache.set("q", "new")
        assert await cache.get("q") == "new"
    finally:
        logging.getLogger("cachecore").removeHandler(handler)
    assert sum("gone back in time, as" in warning for warning in warnings) == 2
    assert sum("again: nothing in it is trusted" in warning for warning in warnings) == 1


@virtual
async def test_mark_that_was_evicted_costs_no_answer(scene: Scene) -> None:
    """Absence proves nothing: 50 evictions, no invalidation, and a snapshot after them is noticed all the same."""
    caches = [scene.cache(l1_max_entries=0) for _ in range(2)]
    await caches[0].set("q", "old")
    root = value(scene, ROOT)
    for turn in range(50):
        await scene.memory.delete_many([MARK])
        assert await caches[turn % 2].delete("unrelated") is (turn == 51)
        assert [await cache.get("q") for cache in caches].count("old") >= 1
        await asyncio.sleep(0.5)
        assert [await cache.get("q") for cache in caches] == ["old", "old"]
    assert value(scene, ROOT) == root
    saved = snapshot(scene)
    await caches[0].delete("q")
    await asyncio.sleep(10)
    restore(scene, saved)
    assert await caches[0].get("q") is None


@virtual
async def test_mark_stands_before_the_first_answer_is_stored(scene: Scene) -> None:
    await scene.cache().get("q")
    assert value(scene, MARK) is None  # reading writes nothing
    await scene.cache().get_or_set("q", Answer())
    number = int(value(scene, MARK) or 0)
    assert abs(number / 1e6 - scene.clock.time()) < 1


@virtual
async def test_only_what_takes_an_answer_away_advances(scene: Scene) -> None:
    """New answers lost in a failover are no reason to invalidate anything."""
    cache = scene.cache()
    for how, advances in (("set", 0), ("set", 1), ("delete", 1), ("set", 0), ("expire", 1), ("invalidate_tags", 1)):
        scene.store.calls.clear()
        await invalidate(cache, how)
        assert scene.store.count("advance") == advances, how
    await cache.set_many({number: number for number in range(20)})
    await cache.get_or_set("computed", Answer())
    await cache.refresh("computed", Answer())
    assert scene.store.count("advance") == 1
    await cache.set_many({number: number for number in range(20)})
    assert scene.store.count("advance") == 2


@virtual
async def test_invalidation_is_acknowledged_after_both(scene: Scene) -> None:
    cache = scene.cache()
    await cache.set("q", "old")
    scene.store.fail("advance", times=1)
    with pytest.raises(BackendError):
        await cache.delete("q")
    assert cache.stats.pending == 1
    await asyncio.sleep(1)
    assert cache.stats.pending == 0


@virtual
async def test_full_store_lets_go_and_is_told_later(scene: Scene) -> None:
    """It has no room for a number; deletions work all the same, and what is owed is made up for."""

    def full(operation: str) -> BackendError:
        return BackendError(operation, transient=False, reason="full")

    cache = scene.cache(l1_max_entries=0)
    await cache.set("q", "old", tags=["t"])
    before = int(value(scene, MARK) or 0)
    scene.store.fail("advance", full)
    await cache.invalidate_tags("t")
    assert await cache.get("q") is None
    scene.store.heal()
    await cache.get("q")
    await asyncio.sleep(0.1)
    await cache.get("q")
    await asyncio.sleep(0.1)
    assert int(value(scene, MARK) or 0) > before


@virtual
async def test_store_without_marks_says_so(scene: Scene) -> None:
    class Plain(MemoryBackend):
        advance = None  # type: ignore[assignment] # so that the ability is not there

    cache = scene.cache(Plain(clock=scene.clock))
    await cache.set("q", "old")
    await cache.delete("q")
    assert (await cache.health())["marks"] == "none"


class Fed(MemoryBackend):
    """A store whose feed says what a test puts into it."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock=clock)
        self.events: asyncio.Queue[FeedEvent] = asyncio.Queue()

    async def feed(self, prefix: str) -> AsyncIterator[FeedEvent]:
        while True:
            yield await self.events.get()


@pytest.mark.parametrize("lost_first", [False, True])
@pytest.mark.parametrize("how", ["delete", "invalidate_tags", "invalidate_all"])
def test_first_sign_of_life_sends_nothing_again(how: str, lost_first: bool) -> None:
    """What is stored between an invalidation and the feed's beginning stays, whatever the feed begins with."""

    @virtual
    async def run(scene: Scene) -> None:
        store = Fed(scene.clock)
        cache = scene.cache(store, tags=["t"])
        await invalidate(cache, how)
        assert await cache.set("q", "new")
        if lost_first:
            store.events.put_nowait(Lost())
        store.events.put_nowait(Alive(scene.clock.monotonic()))
        await asyncio.sleep(2)
        assert await cache.get("q") == "new"

    run()


@virtual
async def test_after_a_loss_only_what_came_back_is_sent_again(scene: Scene) -> None:
    """A newer answer of another process stays; an older one that is there again goes, and so does an old stamp."""
    store = Fed(scene.clock)
    cache, other = scene.cache(store), scene.cache(store)
    store.events.put_nowait(Alive(scene.clock.monotonic()))
    store.events.put_nowait(Alive(scene.clock.monotonic()))
    await cache.set("newer", "old")
    await cache.set("back", "old")
    await cache.set("tagged", "old", tags=["t"])
    assert await cache.get("tagged", tags=["t"]) == "old"
    had = dict(store._values)
    back = [key for key in had if key == cache.key("back") or ":s:t" in key]
    assert len(back) == 2
    await cache.delete("newer")
    await cache.delete("back")
    await cache.invalidate_tags("t")
    await other.set("newer", "new")
    for key in back:
        store._values[key] = had[key]  # without its mark: nothing but this shows it
    for _ in range(2):
        store.events.put_nowait(Lost())
        store.events.put_nowait(Alive(scene.clock.monotonic()))
    for _ in range(4):
        store.events.put_nowait(Alive(scene.clock.monotonic()))
        await asyncio.sleep(0.5)
    assert await scene.cache(store).get("newer") == "new"
    assert await scene.cache(store).get("back") is None
    assert await scene.cache(store).get("tagged") is None
