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
async def test_keys_waited_for_in_vain_are_free_while_the_others_are_computed(scene: Scene) -> None:
    """They are claimed when their turn has come, not while the factory works on others: another process takes them."""
    one, two, three = scene.cache(), scene.cache(), scene.cache()
    failing, many, single = Answer(1, error=LookupError("no provider")), Answers(5), Answer()
    asked = asyncio.ensure_future(one.get_or_set("a", failing))
    await asyncio.sleep(0.01)
    (batch,) = await soon(lambda: two.get_or_set_many(["a", "b"], many), 1)
    await asyncio.sleep(2)
    assert await asyncio.wait_for(three.get_or_set("a", single), 0.5) == 1
    assert await batch == {"a": 1, "b": "answer b"}
    assert many.calls == [["b"]]
    with pytest.raises(LookupError):
        await asked


@virtual
async def test_answers_of_the_first_call_are_stored_though_the_second_fails(scene: Scene) -> None:
    one, two = scene.cache(), scene.cache()
    asked = asyncio.ensure_future(one.get_or_set("a", Answer(1, error=LookupError("no provider"))))
    await asyncio.sleep(0.01)

    async def many(names: list[str]) -> dict[str, str]:
        if "a" in names:
            raise LookupError("none for a")
        await asyncio.sleep(0.1)
        return dict.fromkeys(names, "answer")

    (batch,) = await soon(lambda: two.get_or_set_many(["a", "b"], many), 1)
    (joined,) = await soon(lambda: two.get_or_set("b", Answer()), 1)
    assert await joined == "answer"
    for outcome in (batch, asked):
        with pytest.raises(LookupError):
            await outcome
    assert await one.get_many(["a", "b"]) == {"b": "answer"}


@virtual
async def test_soft_timeout_serves_the_old_answers_of_a_batch_that_have_not_come_in_time(scene: Scene) -> None:
    cache = scene.cache(ttl=10, stale_if_error=600, soft_timeout=0.5)
    await cache.set_many({"a": "old a", "b": "old b"})
    await asyncio.sleep(20)
    began, factory = scene.clock.monotonic(), Answers(2)
    assert await cache.get_or_set_many(["a", "b"], factory) == {"a": "old a", "b": "old b"}
    assert scene.clock.monotonic() - began == pytest.approx(0.5, abs=0.05)
    await asyncio.sleep(2)
    assert await cache.get_many(["a", "b"]) == {"a": "answer a", "b": "answer b"}
    assert factory.calls == [["a", "b"]]


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
