"""A faulty backend fails as it is told: how, when, for which keys and how often."""

from __future__ import annotations

import asyncio
import random

import pytest

from cachecore.contract.errors import BackendError, BackendUnavailable
from cachecore.contract.protocols import SupportsFeed, SupportsPartitions, SupportsScan, SupportsTime
from cachecore.store.memory_backend import MemoryBackend
from cachecore.testing.faulty import FaultyBackend


@pytest.fixture
async def store() -> FaultyBackend:
    store = FaultyBackend(chance=random.Random(3))
    await store.set_many({"a": b"value of a", "b": b"value of b"}, ttl=None)
    store.calls.clear()
    return store


async def test_fails_by_operation_prefix_and_count(store: FaultyBackend) -> None:
    fault = store.fail("get_many", prefix="a", times=2)
    assert await store.get_many(["b"]) == [b"value of b"]
    for _ in range(2):
        with pytest.raises(BackendUnavailable) as raised:
            await store.get_many(["b", "a"])
        assert raised.value.operation == "get_many"
    assert await store.get_many(["a"]) == [b"value of a"]
    assert fault.applied == 2
    assert (store.count("get_many"), store.count("get_many", "a"), store.count("swap")) == (4, 3, 0)


async def test_fails_from_the_beginning_if_built_so() -> None:
    store = FaultyBackend(fail="get_many")
    with pytest.raises(BackendError):
        await store.get_many(["k"])
    await store.set_many({"k": b"v"}, ttl=None)
    store.heal()
    assert await store.get_many(["k"]) == [b"v"]


async def test_a_lost_reply_is_a_failure_after_the_deed(store: FaultyBackend) -> None:
    store.fail("swap", done=True, times=1)
    with pytest.raises(BackendUnavailable):
        await store.swap("a", b"value of a", b"new", ttl=None)
    assert await store.get_many(["a"]) == [b"new"]


async def test_probability_is_drawn_from_the_chance_given() -> None:
    async def failures(seed: int) -> list[int]:
        store = FaultyBackend(chance=random.Random(seed))
        store.fail(probability=0.5)
        failed = []
        for i in range(100):
            try:
                await store.get_many(["k"])
            except BackendUnavailable:
                failed.append(i)
        return failed

    assert await failures(1) == await failures(1) != await failures(2)
    assert 30 < len(await failures(1)) < 70


async def test_delays_go_through_the_sleep_given() -> None:
    slept = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    store = FaultyBackend(sleep=sleep)
    store.delay("get_many", 3600)
    assert await store.get_many(["k"]) == [None]
    assert slept == [3600]


@pytest.mark.parametrize("swallow", [0, 2])
async def test_hanging_calls_swallow_as_many_cancellations_as_told(store: FaultyBackend, swallow: int) -> None:
    store.hang("get_many", swallow=swallow)
    call = asyncio.ensure_future(store.get_many(["a"]))
    await asyncio.sleep(0)
    for _ in range(swallow):
        call.cancel()
        for _ in range(3):
            await asyncio.sleep(0)
        assert not call.done()
    assert store.hanging == 1
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert (store.hanging, store.swallowed) == (0, swallow)


async def test_healing_lets_hanging_calls_answer_late(store: FaultyBackend) -> None:
    store.hang(swallow=None)
    call = asyncio.ensure_future(store.get_many(["a"]))
    await asyncio.sleep(0)
    call.cancel()
    store.heal()
    assert await call == [b"value of a"]


async def test_damaged_values(store: FaultyBackend) -> None:
    """One bit is flipped, or the end is missing; what is stored stays as it is."""
    store.corrupt(prefix="a")
    damaged, intact, missing = await store.get_many(["a", "b", "none"])
    assert (intact, missing) == (b"value of b", None)
    assert damaged is not None
    differing = [x ^ y for x, y in zip(damaged, b"value of a", strict=True) if x != y]
    assert len(differing) == 1
    assert differing[0].bit_count() == 1
    store.heal()
    store.truncate(times=1)
    cut, whole = await store.get_many(["a", "b"])
    assert cut is not None
    assert b"value of a".startswith(cut)
    assert len(cut) < 10
    assert whole == b"value of b"
    store.heal()
    assert await store.get_many(["a", "b"]) == [b"value of a", b"value of b"]


async def test_mixed_up_values_are_those_of_other_keys(store: FaultyBackend) -> None:
    store.mix_up()
    assert await store.get_many(["a"]) == [b"value of a"]  # no other is known yet
    assert await store.get_many(["a", "b"]) == [b"value of b", b"value of a"]
    assert await store.get_many(["b"]) == [b"value of a"]


async def test_lost_writes_look_like_writes(store: FaultyBackend) -> None:
    store.lose_writes()
    await store.set_many({"a": b"new"}, ttl=None)
    assert await store.swap("a", b"value of a", b"new", ttl=None)
    assert await store.delete_many(["a"]) == 1
    store.heal()
    assert await store.get_many(["a"]) == [b"value of a"]


async def test_evicted_keys_are_gone_before_the_call(store: FaultyBackend) -> None:
    fault = store.evict(prefix="a", times=1)
    assert await store.get_many(["b"]) == [b"value of b"]
    assert await store.get_many(["b", "a"]) == [b"value of b", None]
    assert fault.applied == 1


async def test_other_operations_fail_too(store: FaultyBackend) -> None:
    store.fail()
    with pytest.raises(BackendUnavailable):
        await store.delete_many(["a"])
    with pytest.raises(BackendUnavailable):
        await store.time()
    with pytest.raises(BackendUnavailable):
        await anext(store.scan("a"))
    with pytest.raises(BackendUnavailable):
        await store.aclose()


def test_abilities_are_those_of_the_inner_backend() -> None:
    class Nodes(MemoryBackend):
        def partition(self, key: str) -> str:
            return key

    for inner in (MemoryBackend(), Nodes()):
        for ability in (SupportsScan, SupportsTime, SupportsFeed, SupportsPartitions):
            assert isinstance(FaultyBackend(inner), ability) == isinstance(inner, ability)
