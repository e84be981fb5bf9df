"""Invalidations that the store has not acknowledged: nothing they name is served, and they are delivered."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest

from cachecore.contract.errors import BackendError, BackendUnavailable, InvalidationPending
from cachecore.invalidation.outbox import at_exit
from cachecore.invalidation.outbox.outbox import AGAIN_AFTER
from cachecore.testing.faulty import Fault
from tests.unit.virtual_caches import Answer, Scene, virtual


@virtual
async def test_failed_delete_hides_the_old_value_and_is_delivered(scene: Scene) -> None:
    """Hidden at once although the store answers reads; gone for everybody within half a second of its recovery."""
    one, two = scene.cache(), scene.cache()
    await one.set("q", "old")
    assert await two.get("q") == "old"
    scene.store.fail("swap")
    scene.store.fail("set_many")
    with pytest.raises(InvalidationPending):
        await one.delete("q")
    assert await one.get("q") is None
    assert one.peek("q") is None
    assert one.stats.pending == 1
    await asyncio.sleep(2)
    scene.store.heal()
    await asyncio.sleep(1.5)
    assert one.stats.pending == 0
    assert await scene.cache().get("q") is None


@virtual
async def test_failed_invalidation_of_a_tag_hides_copies_in_memory(scene: Scene) -> None:
    """Another read that brings the old stamp back from the store does not revive a copy that rested on it."""
    cache = scene.cache(l1_max_age=60)
    await cache.set("q", "old", tags=["t"])
    await cache.set("r", "old", tags=["t"])
    assert (await cache.get("q"), await cache.get("r")) == ("old", "old")
    scene.store.fail("delete_many")
    with pytest.raises(InvalidationPending):
        await cache.invalidate_tags("t")
    assert await cache.get("q") is None
    assert await cache.get("r") is None
    assert await cache.get_or_set("q", Answer(), tags=["t"]) == 1
    scene.store.heal()
    await asyncio.sleep(1.5)
    assert cache.stats.pending == 0
    assert await cache.get("r", tags=["t"]) is None


@virtual
async def test_store_that_is_back_hears_soon(scene: Scene) -> None:
    """Whoever's read found it well again, what is pending does not wait for its own next attempt."""
    cache = scene.cache(breaker_failures=1, breaker_backoff=0.01, breaker_backoff_max=0.01)
    # Within the 5 s after which the first is sent again; the ends of the outages fall differently into the waits.
    for number in range(8):
        await cache.set("q", "old")
        scene.store.fail()
        with pytest.raises(InvalidationPending):
            await cache.delete("q")
        await asyncio.sleep(0.5 + number * 0.037)
        scene.store.heal()
        for _ in range(20):
            await cache.get("another")
            await asyncio.sleep(0.005)
        assert cache.stats.pending == 0


@virtual
async def test_second_outage_is_not_waited_out_behind_the_repetition(scene: Scene) -> None:
    """What is added while a delivered invalidation awaits its repetition is delivered at once."""
    cache = scene.cache()
    for name in ("a", "b"):
        await cache.set(name, "old")
        scene.store.fail("swap")
        with pytest.raises(InvalidationPending):
            await cache.delete(name)
        scene.store.heal()
        await asyncio.sleep(0.5)
        assert cache.stats.pending == 0


@virtual
async def test_delivered_invalidation_is_repeated(scene: Scene) -> None:
    """A lagging replica that takes over brings the old entry back; five seconds later it is gone again."""
    cache = scene.cache(l1_max_entries=0)
    await cache.set("q", "old")
    key = cache.key("q")
    (old,) = await scene.memory.get_many([key])
    assert old is not None
    scene.store.fail("swap")
    with pytest.raises(InvalidationPending):
        await cache.delete("q")
    scene.store.heal()
    await asyncio.sleep(1)
    await scene.memory.set_many({key: old}, ttl=60)
    await asyncio.sleep(AGAIN_AFTER)
    assert await cache.get("q") is None


@pytest.mark.parametrize("how", ["delete", "expire", "tags"])
def test_what_was_acknowledged_is_sent_again_after_a_failover(how: str) -> None:
    """The replica that took over never heard of it. Sent again, an expiry is a deletion: gone rather than fresh."""

    @virtual
    async def check(scene: Scene) -> None:
        cache = scene.cache(stale_if_error=60, l1_max_entries=0)
        await cache.set("q", "old", tags=["t"])
        names = [cache.key("q"), *cache._scope.stamp_keys(["t/t"])]
        before = await scene.memory.get_many(names)
        assert None not in before
        if how == "expire":
            assert await cache.expire("q") is True
            assert (await cache.lookup("q", stale=True)).outcome == "stale"
        else:
            await (cache.delete("q") if how == "delete" else cache.invalidate_tags("t"))
        await asyncio.sleep(4)
        await scene.memory.set_many(dict(zip(names, map(bytes, filter(None, before)), strict=True)), ttl=60)
        assert await scene.cache().get("q") == "old"
        scene.store.fail("get_many", lambda operation: BackendUnavailable(operation, reason="reset"), times=1)
        await cache.get("another")
        await asyncio.sleep(0.5)
        assert cache.stats.pending == 0
        assert await scene.cache().get("q") is None

    check()


@virtual
async def test_acknowledged_set_ends_what_pends_under_its_key(scene: Scene) -> None:
    """The pending deletion of an older value does not take a newer one along, now or when it is repeated."""
    cache = scene.cache()
    scene.store.fail("set_many", times=1)
    assert await cache.set("q", "lost") is False
    await cache.set("q", "kept")
    assert await cache.get("q") == "kept"
    await asyncio.sleep(2 * AGAIN_AFTER)
    assert await cache.get("q") == "kept"


@virtual
async def test_write_that_failed_and_comes_late_is_gone_soon(scene: Scene) -> None:
    """It was given up, the deletion after it was acknowledged, and then it came all the same."""
    cache, other = scene.cache(), scene.cache()
    await cache.set("q", "late")
    (late,) = await scene.memory.get_many([cache.key("q")])
    assert late is not None
    scene.store.fail("set_many")
    assert await cache.set("q", "late") is False
    await cache.delete("q")
    scene.store.heal()
    assert cache.stats.pending == 0
    await scene.memory.set_many({cache.key("q"): late}, ttl=60)
    await asyncio.sleep(AGAIN_AFTER + 1)
    assert await cache.get("q") is await other.get("q") is None
    # What is set after the deletion stays.
    scene.store.fail("set_many")
    assert await cache.set("q", "late") is False
    await cache.delete("q")
    scene.store.heal()
    await cache.set("q", "new")
    await asyncio.sleep(AGAIN_AFTER + 1)
    assert await cache.get("q") == await other.get("q") == "new"


@virtual
async def test_too_many_collapse_upwards_and_nothing_is_dropped(scene: Scene) -> None:
    cache = scene.cache(namespace="faq", max_pending=4)
    for number in range(10):
        await cache.set(number, "old")
    scene.store.fail("swap")
    for number in range(8):
        with pytest.raises(InvalidationPending):
            await cache.delete(number)
    assert cache.stats.pending <= 4
    assert [await cache.get(number) for number in range(8)] == [None] * 8
    scene.store.heal()
    await asyncio.sleep(2)
    fresh = scene.cache(namespace="faq")
    assert [await fresh.get(number) for number in range(10)] == [None] * 10


async def answer_late(_: object) -> None:
    await asyncio.sleep(1)


@virtual
async def test_read_that_began_before_the_delivery_is_not_believed(scene: Scene) -> None:
    """Its bytes are older than the invalidation, and it is answered after nothing pends any more."""
    cache = scene.cache(l1_max_entries=0, backend_timeout=10)
    await cache.set("q", "old")
    scene.store.fail("swap", times=1)
    with pytest.raises(InvalidationPending):
        await cache.delete("q")
    value = await scene.memory.get_many([cache.key("q")])
    assert value != [None]
    scene.store._add(Fault("get_many", "cc:e", 1, 1.0, after=answer_late))
    reading = asyncio.ensure_future(cache.get("q"))
    await asyncio.sleep(0.5)
    assert cache.stats.pending == 0
    assert await reading is None


@virtual
async def test_read_that_began_before_a_newer_write_took_over_is_not_believed(scene: Scene) -> None:
    """What the write supersedes was promised to this process before the read began."""
    cache = scene.cache(l1_max_entries=0, backend_timeout=10)
    for newer in (None, "new"):
        await cache.set("q", "old")
        scene.store.fail("swap", times=1)
        with pytest.raises(InvalidationPending):
            await cache.delete("q")
        scene.store._add(Fault("get_many", "cc:e", 1, 1.0, after=answer_late))
        reading = asyncio.ensure_future(cache.get("q"))
        await asyncio.sleep(0.01)
        await (cache.delete("q") if newer is None else cache.set("q", newer))
        assert cache.stats.pending == 0
        assert not reading.done()
        assert await reading is None
        assert await cache.get("q") == newer
        await asyncio.sleep(AGAIN_AFTER + 1)
        assert not cache._engine.outbox.busy


def full(operation: str) -> BackendError:
    return BackendError(operation, transient=False, reason="full")


@virtual
async def test_store_that_fills_up_while_a_deletion_pends_loses_the_old_value_at_once(scene: Scene) -> None:
    """Each key once: the tombstones are owed until there is room, and are not worth more than a question."""
    cache = scene.cache()
    await cache.set_many(dict.fromkeys(range(300), "old"))
    scene.store.fail()
    with pytest.raises(InvalidationPending):
        await cache.delete_many(list(range(300)))
    scene.store.heal()
    scene.store.fail("swap", full)
    scene.store.fail("set_many", full)
    await asyncio.sleep(1)
    assert await scene.memory.get_many([cache.key(number) for number in range(300)]) == [None] * 300
    assert cache.stats.pending == 300
    scene.store.calls.clear()
    await asyncio.sleep(10)
    assert scene.store.count("delete_many") == 0
    assert (
        20
        < scene.store.count("set_many")
        == sum(len(call.keys) for call in scene.store.calls if call.operation == "set_many")
    )
    scene.store.heal()
    await asyncio.sleep(1)
    assert cache.stats.pending == 0
    assert None not in await scene.memory.get_many([cache.key(number) for number in range(300)])
    scene.store.fail()
    with pytest.raises(InvalidationPending):
        await cache.delete_many(list(range(300)))
    scene.store.heal()
    scene.store.calls.clear()
    await asyncio.sleep(1)
    assert [len(call.keys) for call in scene.store.calls if call.operation == "set_many"] == [256, 44]


@virtual
async def test_repetition_takes_no_tombstone_from_a_store_that_is_full(scene: Scene) -> None:
    """What stands there is what keeps out computations that began before the deletion."""
    cache = scene.cache()
    await cache.set("q", "old")
    scene.store.fail("swap", times=1)
    with pytest.raises(InvalidationPending):
        await cache.delete("q")
    await asyncio.sleep(0.5)
    before = await scene.memory.get_many([cache.key("q")])
    scene.store.fail("set_many", full)
    await asyncio.sleep(AGAIN_AFTER)
    assert await scene.memory.get_many([cache.key("q")]) == before != [None]
    scene.store.heal()
    await asyncio.sleep(1)
    assert before != await scene.memory.get_many([cache.key("q")]) != [None]


@virtual
async def test_store_that_is_too_full_to_delete_anything_says_so(scene: Scene) -> None:
    """As a disk without a block left may be."""
    cache = scene.cache(stale_if_error=60)
    await cache.set_many(dict.fromkeys("abc", "old"))
    scene.store.fail("swap", full)
    scene.store.fail("set_many", full)
    scene.store.fail("delete_many", full)
    writes = {"a": cache.delete("a"), "b": cache.expire("b"), "c": cache.set("c", "new", required=True)}
    for name, write in writes.items():
        with pytest.raises(InvalidationPending):
            await write
        assert await cache.get(name) is None
    assert cache.stats.pending == 3
    scene.store.heal()
    await asyncio.sleep(1)
    assert cache.stats.pending == 0
    assert await scene.cache().get_many("abc") == {}


@virtual
async def test_an_outbox_is_kept_while_something_pends_and_no_longer(scene: Scene) -> None:
    """A program may drop its cache, and the process delivers what pends at its end."""
    cache = scene.cache()
    outbox = cache._engine.outbox
    await cache.set("q", "old")
    assert outbox not in at_exit._owed
    scene.store.fail()
    with pytest.raises(InvalidationPending):
        await cache.delete("q")
    assert outbox in at_exit._owed
    scene.store.heal()
    await asyncio.sleep(3 * AGAIN_AFTER)
    assert cache.stats.pending == 0
    assert outbox not in at_exit._owed


def test_of_caches_for_each_job_the_latest_are_kept(caplog: pytest.LogCaptureFixture) -> None:
    """Each with a loop of its own, never closed, while the store is away."""

    async def job(scene: Scene) -> weakref.ref[Any]:
        cache = scene.cache()
        await cache.set("q", "old")
        scene.store.fail()
        with pytest.raises(InvalidationPending):
            await cache.delete("q")
        return weakref.ref(cache._engine.outbox)

    made = [scene.clock.run(job(scene)) for scene in (Scene() for _ in range(40))]
    gc.collect()
    kept = [outbox for outbox in (one() for one in made) if outbox is not None]
    assert len(kept) <= 17
    assert kept[-1] is made[-1]()
    said = [one for one in caplog.records if "1 invalidations were never acknowledged" in one.getMessage()]
    assert len(said) == 40 - len(kept)
    for outbox in kept:
        at_exit.release(outbox)


@virtual
async def test_outbox_is_busy_exactly_while_reads_must_ask_it(scene: Scene) -> None:
    """From the failure on, until the repetition of what was delivered late is over; then reads look no further."""
    cache = scene.cache()
    outbox = cache._engine.outbox
    await cache.set("q", "old")
    await cache.delete("q")
    assert not outbox.busy
    await cache.set("q", "old")
    scene.store.fail()
    with pytest.raises(InvalidationPending):
        await cache.delete("q")
    assert outbox.busy
    scene.store.heal()
    await asyncio.sleep(1.5)
    assert cache.stats.pending == 0
    assert outbox.busy
    await asyncio.sleep(AGAIN_AFTER + 1)
    assert not outbox.busy


@virtual
async def test_outbox_is_busy_with_a_deletion_that_was_settled_on_its_way(scene: Scene) -> None:
    """A read that began before the store applied it may still bring the old value."""
    cache = scene.cache()
    outbox = cache._engine.outbox
    key = cache.key("q")
    outbox.add_entries([key], cache._scope.parents())
    items = list(outbox._waiting)
    outbox.settle([key])
    outbox.busy = False  # as an attempt of another loop finds it
    outbox._heard(items)
    assert outbox.busy
    assert outbox.covers(key, (), -1.0)


@virtual
async def test_a_loop_that_is_closing_takes_over_nothing_for_longer(scene: Scene) -> None:
    """Where two loops close at the same time, the one that ends first hands over to the other."""
    cache = scene.cache(write_timeout=1)
    scene.store.fail()
    with pytest.raises(InvalidationPending):
        await cache.delete("q")
    closing = asyncio.ensure_future(cache.aclose())
    await asyncio.sleep(0.5)
    cache._engine.outbox.attend()  # called for the other loop
    await closing
    assert [task for task in asyncio.all_tasks() if task.get_name() == "cachecore-pending"] == []
