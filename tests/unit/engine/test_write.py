"""Explicit writes: what they leave in the store and in memory, also when they are half done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from cachecore import Computed, EncodingError, InvalidationPending
from cachecore.store.memory_backend import MemoryBackend
from tests.unit.virtual_caches import Answer, Scene, soon, virtual


@virtual
async def test_what_was_set_is_read_from_memory_and_from_the_store(scene: Scene) -> None:
    cache, other = scene.cache(), scene.cache()
    value = {"text": ["a", 1, None]}
    assert await cache.set("q", value) is True
    value["text"].append("spoilt afterwards")
    assert cache.peek("q") == await other.get("q") == {"text": ["a", 1, None]}
    assert (await cache.lookup("q")).tier == "l1"
    await cache.set("q", "new")
    assert cache.peek("q") == "new"


@virtual
async def test_a_short_lived_answer_is_dead_in_time_though_its_bytes_stay(scene: Scene) -> None:
    """The bytes stand in the way of computations that began before; nobody is served by them."""
    cache = scene.cache()
    await cache.set("q", "short", ttl=0.5)
    assert await cache.get("q") == "short"
    await asyncio.sleep(0.6)
    assert (cache.peek("q"), (await cache.lookup("q")).reason) == (None, "expired")
    assert (await scene.memory.get_many([cache.key("q")]))[0] is not None


@virtual
async def test_many_are_deleted_in_parts_and_counted_exactly(scene: Scene) -> None:
    cache = scene.cache()
    await cache.set_many({number: number for number in range(150)})
    assert await cache.delete_many(list(range(100, 250))) == 50
    assert len(await cache.get_many(list(range(250)))) == 100
    assert cache.stats.invalidated == {"delete": 150}


@virtual
async def test_of_many_only_those_pend_that_were_not_acknowledged(scene: Scene) -> None:
    cache = scene.cache()
    await cache.set_many(dict.fromkeys(range(100), "old"))
    scene.store.fail("swap", prefix=cache.key(7))
    with pytest.raises(InvalidationPending):
        await cache.delete_many(list(range(50)))
    assert cache.stats.pending == 1
    assert await cache.get_many(range(100)) == dict.fromkeys(range(50, 100), "old")
    scene.store.heal()
    await asyncio.sleep(1)
    assert cache.stats.pending == 0
    assert await scene.cache().get_many(range(100)) == dict.fromkeys(range(50, 100), "old")


@virtual
async def test_a_set_that_is_refused_leaves_the_old_answer(scene: Scene) -> None:
    """Also while the store is down, when everything else that is not acknowledged deletes."""
    cache = scene.cache()
    await cache.set("q", "old")
    scene.store.fail()
    with pytest.raises(EncodingError):
        await cache.set("q", object())
    scene.store.heal()
    assert await cache.get("q") == "old"
    assert cache.stats.pending == 0


class Unstampable(MemoryBackend):
    """Has something under one key that is no value, and that only a deletion takes away: a key of another type."""

    def __init__(self, taken: str) -> None:
        super().__init__()
        self.taken: str | None = taken

    async def swap(self, key: str, old: bytes | None, new: bytes | None, *, ttl: float | None) -> bool:
        return key != self.taken and await super().swap(key, old, new, ttl=ttl)

    async def delete_many(self, keys: Sequence[str]) -> int:
        if self.taken in keys:
            self.taken = None
        return await super().delete_many(keys)


@virtual
async def test_nothing_is_set_without_the_stamps_of_its_tags(scene: Scene) -> None:
    """No invalidation would ever reach it."""
    backend = Unstampable("cc:s:t%2Fdoc")
    cache = scene.cache(backend)
    await cache.set("q", "old")
    assert await cache.set("q", "new", tags=["doc"]) is False
    assert not any(await cache.set_many({"other": 1}, tags=["doc"]))
    await asyncio.sleep(1)
    assert await cache.get("q") is await scene.cache(backend).get("q") is None
    await cache.invalidate_tags("doc")
    assert await cache.set("q", "new", tags=["doc"])
    await cache.invalidate_tags("doc")
    assert await cache.get("q") is None


@virtual
async def test_tag_that_is_invalidated_while_its_stamp_is_made_is_stamped_again(scene: Scene) -> None:
    """Somebody else made the stamp at the same moment, and it is gone again before it could be read."""
    name = "cc:s:t%2Fdoc"
    times = 0

    class Racing(MemoryBackend):
        async def swap(self, key: str, old: bytes | None, new: bytes | None, *, ttl: float | None) -> bool:
            nonlocal times
            if key == name and (times := times + 1) <= 3:
                return False  # the other's came first, and was deleted before it could be read
            return await super().swap(key, old, new, ttl=ttl)

    cache = scene.cache(Racing())
    assert await cache.set("q", "value", tags=["doc"])
    assert times > 3
    assert await cache.get("q") == "value"
    await cache.invalidate_tags("doc")
    assert await cache.get("q") is None


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("kind", ["set", "set_many", "set since", "delete", "expire"])
def test_what_was_not_acknowledged_raises_and_hides_the_old_answer(kind: str, done: bool) -> None:
    """Whether the store did it and the reply was lost, or did nothing."""

    @virtual
    async def check(scene: Scene) -> None:
        cache = scene.cache(backend_timeout=1)
        await cache.set("q", "old")
        seen = await scene.cache().lookup("q")
        writes: dict[str, Callable[[], Awaitable[object]]] = {
            "set": lambda: cache.set("q", "new"),
            "set_many": lambda: cache.set_many({"q": "new", "r": 1}),
            "set since": lambda: cache.set("q", "new", since=seen),
            "delete": lambda: cache.delete("q"),
            "expire": lambda: cache.expire("q"),
        }
        for operation in ("set_many", "swap"):
            scene.store.fail(operation, prefix="cc:e:", done=done)
        if kind.startswith("set"):
            assert await writes[kind]() in (False, [False, False])
        else:
            with pytest.raises(InvalidationPending):
                await writes[kind]()
        assert cache.peek("q") is None
        assert await cache.get("q") is None
        assert cache.stats.pending > 0
        scene.store.heal()
        await asyncio.sleep(30)  # virtual: delivered, and delivered again
        assert cache.stats.pending == 0
        assert await cache.get("q") is None
        assert await scene.cache().get("q") is None

    check()


@virtual
async def test_a_write_detaches_the_computation_that_is_under_way(scene: Scene) -> None:
    cache = scene.cache(stale_if_error=60)
    writes: list[Callable[[], Awaitable[object]]] = [
        lambda: cache.set("q", "set"),
        lambda: cache.delete("q"),
        lambda: cache.expire("q"),
    ]
    for write in writes:
        await cache.delete("q")
        (early,) = await soon(lambda: cache.get_or_set("q", Answer(2)), 1)
        await write()
        late = await cache.lookup("q", Answer(0.1))
        assert late.value == ("set" if late.outcome == "hit" else 1)
        assert not late.joined
        assert await early == 1


@virtual
async def test_expire_never_loses_a_race_to_a_computation_that_read_before(scene: Scene) -> None:
    cache, other = (scene.cache(ttl=10, stale_if_error=60) for _ in range(2))
    await cache.set("q", "old")
    await asyncio.sleep(11)
    (asked,) = await soon(lambda: cache.get_or_set("q", Answer(2)), 1)
    assert await other.expire("q") is True
    assert await asked == 1
    assert await other.get("q") is None


@virtual
async def test_expire_keeps_what_was_stored_beside_the_value(scene: Scene) -> None:
    cache = scene.cache(stale_if_error=60)
    await cache.set("q", Computed(["v"], tags=["t"], served_by="us", metadata={"n": 1}))
    await cache.expire("q")
    seen = await cache.lookup("q", stale=True)
    assert (seen.value, seen.served_by, seen.metadata, seen.outcome) == (["v"], "us", {"n": 1}, "stale")
    await cache.invalidate_tags("t")
    assert (await cache.lookup("q", stale=True)).found is False


@virtual
async def test_expire_prolongs_nothing(scene: Scene) -> None:
    """Whatever stale windows the view has that expires it."""
    cache = scene.cache(ttl=10)
    patient = cache.scoped(stale_if_error=1000)
    await cache.set("q", "v")
    await asyncio.sleep(5)
    assert await patient.expire("q") is True
    assert (await patient.lookup("q", stale=True)).value == "v"
    await asyncio.sleep(6)
    assert (await patient.lookup("q", stale=True)).found is False
