"""What a call costs while the store is known to be away: nothing is collected, sealed, timed or left as garbage."""

from __future__ import annotations

import asyncio
import gc
from functools import partial
from typing import Any

import pytest

from cachecore import Cache
from cachecore.contract.protocols import EntryContext
from cachecore.serializers.msgpack import MsgpackSerializer
from tests.unit.virtual_caches import Answer, Scene, soon, virtual


class Counting(MsgpackSerializer):
    """Counts the values that it encodes."""

    dumped = 0

    def dumps(self, value: Any, context: EntryContext) -> bytes:
        self.dumped += 1
        return super().dumps(value, context)


async def away(scene: Scene, **options: Any) -> Cache[Any]:
    """Return a cache whose store has failed so often that it is not asked any more."""
    cache = scene.cache(l1_max_entries=0, breaker_backoff=30, breaker_backoff_max=30, **options)
    await cache.get_or_set("warm", Answer())
    scene.store.fail("get_many")
    for number in range(5):
        await cache.get(number)
    assert cache.stats.backend_errors["get_many:breaker_open"] > 0
    scene.store.calls.clear()
    return cache


@virtual
async def test_refused_read_is_answered_in_the_call_itself(scene: Scene) -> None:
    """Nothing is gained by collecting, although there are callbacks left that could ask for more."""
    cache = await away(scene)
    asyncio.get_running_loop().call_soon(int)
    asking = cache.get("q", "none")
    with pytest.raises(StopIteration) as ended:
        asking.send(None)
    assert ended.value.value == "none"
    assert scene.store.calls == []


@virtual
async def test_refused_read_finds_the_store_well_again(scene: Scene) -> None:
    cache = await away(scene)
    scene.store.heal()
    await asyncio.sleep(31)
    assert await cache.get("warm") is None  # refused, and the store is read behind
    await asyncio.sleep(0.1)
    assert await cache.get("warm") == 1


@virtual
async def test_call_leaves_no_garbage(scene: Scene) -> None:
    """An error that keeps its frames, which know the read that keeps the error, waits for the collector."""
    cache = await away(scene)
    await cache.get_or_set("first", Answer())
    gc.collect()
    gc.disable()
    try:
        for number in range(50):
            await cache.get_or_set(("q", number), Answer())
        assert gc.collect() < 50
    finally:
        gc.enable()


@virtual
async def test_lone_answer_is_not_sealed_and_its_stamps_are_not_kept(scene: Scene) -> None:
    serializer = Counting()
    cache = await away(scene, serializer=serializer)
    loop, before = asyncio.get_running_loop(), serializer.dumped
    timers: list[float] = []
    plain = loop.call_later

    def counted(delay: float, *rest: Any, **more: Any) -> asyncio.TimerHandle:
        timers.append(delay)
        return plain(delay, *rest, **more)

    async def answer() -> dict[str, int]:
        return {"of": 1}

    loop.call_later = counted  # type: ignore[method-assign, assignment] # to count
    try:
        found = await cache.lookup("q", answer)
    finally:
        loop.call_later = plain  # type: ignore[method-assign] # as it was
    assert (found.value, found.outcome, found.fresh_for) == ({"of": 1}, "computed", 60)
    assert (serializer.dumped, timers) == (before, [])
    assert cache.stats.not_stored["store"] >= 1


@virtual
async def test_callers_who_join_have_a_value_each(scene: Scene) -> None:
    cache, calls = await away(scene), 0

    async def answer() -> dict[str, int]:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0.1)
        return {"of": calls}

    values = await asyncio.gather(*(cache.get_or_set("q", answer) for _ in range(3)))
    assert values == [{"of": 1}] * 3
    assert len({id(value) for value in values}) == 3


@virtual
async def test_refreshes_at_one_moment_are_at_most_two_calls(scene: Scene) -> None:
    """Also where the factory answers before the others of its round could join."""
    cache, calls = await away(scene), 0

    async def answer() -> dict[str, int]:
        nonlocal calls
        calls += 1
        return {"of": calls}

    values = await asyncio.gather(*(cache.refresh("q", answer) for _ in range(20)))
    assert calls <= 2
    assert len({id(value) for value in values}) == 20


@virtual
async def test_caller_whose_read_is_late_takes_the_answer_that_came_meanwhile(scene: Scene) -> None:
    """It would have joined the computation, which ended while the store was silent for this caller alone."""
    for call in ("get_or_set", "lookup"):
        cache, factory = scene.cache(l1_max_age=60, backend_timeout=0.25), Answer(0.1)
        (first,) = await soon(partial(cache.get_or_set, call, factory), 1)
        scene.store.delay("get_many", 5, times=1)
        (second,) = await soon(partial(getattr(cache, call), call, factory), 1)
        answer = await second
        assert (await first, answer if call == "get_or_set" else answer.value, factory.calls) == (1, 1, 1)
