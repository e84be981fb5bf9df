"""`set` tells whether the store took a value: a store that is sick is no error, and no more pends than must."""

from __future__ import annotations

import asyncio
import pickle

import pytest

from cachecore import InvalidationPending
from cachecore.contract import BackendUnavailable
from cachecore.contract.errors import BackendError
from cachecore.contract.protocols import SupportsMarks, SupportsSizes
from cachecore.store.memory_backend import MemoryBackend
from cachecore.testing.faulty import FaultyBackend
from tests.unit.virtual_caches import Answer, Scene, virtual


def refused(operation: str) -> BackendError:
    return BackendUnavailable(operation, reason="refused")


@virtual
async def test_set_returns_false_where_the_store_is_away(scene: Scene) -> None:
    cache = scene.cache()
    scene.store.fail(None, refused)
    assert await cache.set("q", 1) is False
    assert await cache.set_many({"q": 1, "r": 2}) == [False, False]
    assert (cache.stats.stored, cache.stats.not_stored) == (0, {"store": 3})
    scene.store.heal()
    await asyncio.sleep(1)
    assert await cache.set("q", 1) is True
    assert await cache.set_many({"q": 1, "r": 2}) == [True, True]
    assert await cache.set_many({}) == []


@virtual
async def test_required_raises_and_says_why(scene: Scene) -> None:
    """And that delivery goes on by itself; the error survives a process boundary."""
    cache = scene.cache()
    scene.store.fail(None, refused)
    with pytest.raises(InvalidationPending, match=r"set \(refused\): the value is not stored.*by itself") as caught:
        await cache.set("q", 1, required=True)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert caught.value.cause == "refused"
    with pytest.raises(InvalidationPending, match="refused"):
        await cache.set_many({"q": 1}, required=True)
    for write in (cache.delete("q"), cache.expire("q"), cache.invalidate_tags("t"), cache.invalidate_all()):
        with pytest.raises(InvalidationPending, match=r"\(refused(, breaker open)?\): what.*by itself"):
            await write


@virtual
async def test_refusals_that_last_promise_no_delivery(scene: Scene) -> None:
    cache = scene.cache()
    scene.store.fail(None, lambda operation: BackendError(operation, transient=False, reason="auth"))
    with pytest.raises(
        InvalidationPending, match=r"\(auth\).*is not delivered for as long as .*mend the cause"
    ) as caught:
        await cache.delete("q")
    assert not caught.value.transient


@virtual
async def test_nothing_pends_where_the_store_said_that_there_was_nothing(scene: Scene) -> None:
    """The key was read to be empty just before the write failed."""
    cache = scene.cache()
    await cache.set("old", 1)
    scene.store.fail("set_many")
    assert await cache.set("new", 1) is False
    assert cache.stats.pending == 0
    assert await cache.set_many({"newer": 1, "old": 2}) == [False, False]
    assert cache.stats.pending == 1
    assert await cache.get("old") is None


@virtual
async def test_the_old_answer_is_gone_where_nothing_is_known(scene: Scene) -> None:
    class Plain:
        """A store that tells no sizes and has no marks."""

        def __init__(self) -> None:
            self.inner = MemoryBackend(clock=scene.clock)
            for name in ("get_many", "set_many", "delete_many", "swap", "aclose"):
                setattr(self, name, getattr(self.inner, name))

    plain = Plain()
    assert not isinstance(plain, SupportsSizes | SupportsMarks)
    store = FaultyBackend(plain)  # type: ignore[arg-type]  # its methods are set as it is made
    cache, other = scene.cache(store), scene.cache(store)
    await cache.set("q", "old")
    store.fail("set_many")
    assert await cache.set("q", "new") is False
    assert cache.stats.pending == 1
    assert await cache.get("q") is None
    store.heal()
    await asyncio.sleep(1)
    assert await other.get("q") is None


@virtual
async def test_an_outage_with_thousands_of_failed_stores_empties_nothing(scene: Scene) -> None:
    """Whatever way they come: 12,000 sets of keys that nobody knows, stores since a miss, and computations."""
    cache = scene.cache(namespace="faq", tags=["all"])
    others = {f"old {number}": number for number in range(100)}
    assert all(await cache.set_many(others))
    seen = [await cache.lookup(f"unseen {number}") for number in range(50)]
    scene.store.fail(None, refused)
    for start in range(0, 12_000, 500):
        stored = await asyncio.gather(*(cache.set(f"new {number}", number) for number in range(start, start + 500)))
        assert not any(stored)
    pending = cache.stats.pending
    assert pending == 12_000
    for number, miss in enumerate(seen):
        assert await cache.set(f"unseen {number}", 1, since=miss) is False
        assert await cache.get_or_set(f"computed {number}", Answer()) == 1
    assert cache.stats.pending == pending
    assert cache.stats.not_stored == {"store": 12_100}
    await asyncio.sleep(1.2)
    scene.store.heal()
    await asyncio.sleep(3)
    assert cache.stats.pending == 0
    assert await cache.get_many(list(others)) == others
    assert await scene.cache(namespace="faq").get_many(list(others)) == others


@virtual
async def test_a_failed_set_since_leaves_a_miss_a_miss(scene: Scene) -> None:
    """Nothing pends, and `required` raises all the same. An answer that was there is treated as deleted."""
    cache, other = scene.cache(), scene.cache()
    await other.set("there", "old")
    miss, hit = await cache.lookup("q"), await cache.lookup("there")
    scene.store.fail("swap")
    assert await cache.set("q", 1, since=miss) is False
    with pytest.raises(InvalidationPending):
        await cache.set("q", 1, since=miss, required=True)
    assert cache.stats.pending == 0
    assert await cache.set("there", "new", since=hit) is False
    assert cache.stats.pending == 1
    scene.store.heal()
    await asyncio.sleep(1)
    assert await other.get("there") is None


@pytest.mark.usefixtures("default_deadlines")
def test_closing_tries_for_as_long_as_a_write(caplog: pytest.LogCaptureFixture) -> None:
    """A store that comes back meanwhile has heard; what is left after that is logged, by number."""

    @virtual
    async def check(scene: Scene) -> None:
        late, never = scene.cache(), scene.cache()
        await late.set("q", "old")
        scene.store.fail(None, refused)
        for cache in (late, never):
            with pytest.raises(InvalidationPending):
                await cache.delete("q")
        loop = asyncio.get_running_loop()
        loop.call_later(0.6, scene.store.heal)
        await late.aclose()
        assert late.stats.pending == 0
        scene.store.fail(None, refused)
        began = loop.time()
        await never.aclose()
        assert 0.9 < loop.time() - began < 1.5
        told = [record.getMessage() for record in caplog.records if record.name == "cachecore"]
        assert told == ["1 invalidations were never acknowledged by the store and end with this process"]

    check()
