"""Batches and other processes: claims are held no longer than needed, and nothing paid for is lost."""

from __future__ import annotations

import asyncio

import pytest

from cachecore import Computed
from cachecore.encoding.claim import read_claim
from tests.unit.virtual_caches import Answer, Scene, soon, virtual

from .test_batches import Answers


@virtual
async def test_claims_are_gone_after_an_answer_and_marked_after_none(scene: Scene) -> None:
    """The mark tells waiting processes to compute at once."""
    cache = scene.cache()
    await cache.get_or_set_many(["a", "b"], Answers(out={"a": 1, "b": Computed(2, store=False)}))
    await asyncio.sleep(0.01)  # given back once the caller has its answer
    keys = [cache.key(name) for name in "ab"]
    stored, left_out = map(read_claim, await scene.memory.get_many(keys), keys)
    assert stored is None
    assert left_out is not None
    assert left_out.ended


@virtual
async def test_who_comes_after_an_invalidation_does_not_wait_for_the_batch(scene: Scene) -> None:
    cache, other = scene.cache(), scene.cache()
    (batch,) = await soon(lambda: cache.get_or_set_many(["a", "b"], Answers(30)), 1)
    await cache.delete("a")
    began = scene.clock.monotonic()
    assert await other.get_or_set("a", Answer()) == 1
    assert scene.clock.monotonic() - began < 1
    await batch


@virtual
async def test_answers_that_are_being_stored_are_stored_though_nobody_waits(scene: Scene) -> None:
    cache, factory = scene.cache(backend_timeout=5), Answers(1)
    (batch,) = await soon(lambda: cache.get_or_set_many(["a", "b"], factory), 1)
    scene.store.delay("swap", 1, prefix="cc:e:")
    await asyncio.sleep(1.5)
    batch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await batch
    await asyncio.sleep(3)
    assert await cache.get_many(["a", "b"]) == {"a": "answer a", "b": "answer b"}
    assert (factory.cancelled, cache.stats.stored) == (0, 2)


@virtual
async def test_refreshes_behind_batches_are_bounded_and_make_room(scene: Scene) -> None:
    cache, factory = scene.cache(ttl=10, stale_while_revalidate=1000, max_background=1), Answers(1)
    await cache.set_many({"a": "old", "b": "old"})
    await asyncio.sleep(20)
    for name in "ab":  # one at a time: the second has no room yet
        assert await cache.get_or_set_many([name], factory) == {name: "old"}
    assert factory.calls == []
    await asyncio.sleep(2)
    assert factory.calls == [["a"]]
    assert await cache.get_or_set_many(["b"], factory) == {"b": "old"}
    await asyncio.sleep(2)
    assert factory.calls == [["a"], ["b"]]


@virtual
async def test_an_early_refresh_that_brings_nothing_is_not_drawn_again(scene: Scene) -> None:
    cache, calls = scene.cache(refresh_ahead=1e6, l1_max_age=60), 0

    async def once(names: list[str]) -> dict[str, Computed[int]]:
        nonlocal calls
        calls += 1
        await asyncio.sleep(1)
        return {name: Computed(calls, store=calls == 1) for name in names}

    for _ in range(5):
        assert await cache.get_or_set_many(["a"], once) == {"a": 1}
        await asyncio.sleep(3)
    assert calls == 2
