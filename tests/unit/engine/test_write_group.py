"""Calls of `set` that begin in one turn are one write, and each has an outcome of its own."""

from __future__ import annotations

import asyncio
from typing import Any

from cachecore import Computed, EncodingError, InvalidationPending
from cachecore.contract.errors import BackendTimeout, TooLargeError
from cachecore.contract.protocols import EntryContext
from cachecore.serializers import MsgpackSerializer
from tests.unit.virtual_caches import Scene, virtual


@virtual
async def test_sets_of_one_turn_are_one_write(scene: Scene) -> None:
    cache = scene.cache()
    await cache.set("warm", 0)
    scene.store.calls.clear()
    assert await asyncio.gather(*(cache.set(number, number) for number in range(64))) == [True] * 64
    counts = {name: scene.store.count(name) for name in ("get_many", "sizes", "set_many", "swap", "advance")}
    assert counts == {"get_many": 1, "sizes": 1, "set_many": 1, "swap": 0, "advance": 0}
    assert [await scene.cache().get(number) for number in range(64)] == list(range(64))
    assert cache.stats.stored == 65


@virtual
async def test_each_has_its_own_tags_ttl_and_origin(scene: Scene) -> None:
    cache = scene.cache()
    await asyncio.gather(
        cache.set("a", 1, tags=["x"]),
        cache.set("b", Computed(2, ttl=5), tags=["y"]),
        cache.set("c", Computed(3, tags=["x"], served_by="us")),
        cache.set("d", 4, ttl=None),
    )
    reader = scene.cache()
    assert (await reader.lookup("c")).served_by == "us"
    await cache.invalidate_tags("x")
    assert [await reader.get(name) for name in "abcd"] == [None, 2, None, 4]
    await asyncio.sleep(6)
    assert [await reader.get(name) for name in "abcd"] == [None, None, None, 4]


@virtual
async def test_one_that_cannot_be_encoded_fails_alone_and_leaves_the_old_answer(scene: Scene) -> None:
    cache = scene.cache(max_value_bytes=10_000)
    await cache.set_many({"bad": "old", "large": "old"})
    outcomes = await asyncio.gather(
        cache.set("good", 1),
        cache.set("bad", object()),
        cache.set("large", "x" * 20_000),
        cache.set("fine", 2),
        return_exceptions=True,
    )
    assert (outcomes[0], outcomes[3]) == (True, True)
    assert isinstance(outcomes[1], EncodingError)
    assert isinstance(outcomes[2], TooLargeError)
    assert await scene.cache().get_many(["good", "bad", "large", "fine"]) == {
        "good": 1, "bad": "old", "large": "old", "fine": 2
    }  # fmt: skip


@virtual
async def test_the_last_of_one_key_counts(scene: Scene) -> None:
    cache = scene.cache()
    assert await asyncio.gather(*(cache.set("q", number) for number in range(5))) == [True] * 5
    assert await cache.get("q") == await scene.cache().get("q") == 4


@virtual
async def test_large_ones_are_written_by_themselves(scene: Scene) -> None:
    """No small one waits for them, and a store that refuses one of them stores the others."""
    cache = scene.cache()
    await cache.set("large", "old")
    scene.store.calls.clear()
    scene.store.fail("set_many", prefix=cache.key("large"))
    sets = [cache.set("large", "x" * 20_000), *(cache.set(number, number) for number in range(8))]
    assert await asyncio.gather(*sets) == [False] + [True] * 8
    assert scene.store.count("set_many") == 2
    scene.store.heal()
    await asyncio.sleep(1)
    assert await scene.cache().get_many(["large", 7]) == {7: 7}


@virtual
async def test_a_caller_that_is_cancelled_takes_no_other_with_it(scene: Scene) -> None:
    cache = scene.cache()
    await cache.set("warm", 0)
    scene.store.delay(seconds=0.1)
    sets = [asyncio.ensure_future(cache.set(number, number)) for number in range(3)]
    await asyncio.sleep(0.05)
    sets[0].cancel()
    assert await asyncio.gather(*sets[1:]) == [True, True]
    assert sets[0].cancelled()
    scene.store.heal()
    assert await scene.cache().get(0) == 0  # a write that has begun is carried out whole


@virtual
async def test_a_store_that_hangs_costs_one_deadline(scene: Scene) -> None:
    """Each caller hears of it, and what was there is not served any more."""
    cache = scene.cache(write_timeout=1)
    await cache.set(1, "old")
    scene.store.hang()
    began = scene.clock.monotonic()
    outcomes = await asyncio.gather(
        cache.set(1, "new"), cache.set(2, "new", required=True), cache.set(3, "new"), return_exceptions=True
    )
    assert scene.clock.monotonic() - began < 1.5
    assert (outcomes[0], outcomes[2]) == (False, False)
    assert isinstance(outcomes[1], InvalidationPending)
    assert cache.peek(1) is None
    assert cache.stats.pending == 3
    scene.store.heal()
    await asyncio.sleep(5)
    assert await cache.get(1) is await scene.cache().get(1) is None


@virtual
async def test_nothing_is_written_any_more_once_the_caller_was_told_that_it_is_not(scene: Scene) -> None:
    """A store that another process has locked is asked again; what comes after the deadline would undo a deletion."""
    cache = scene.cache(write_timeout=1)
    await cache.set("q", "old")
    scene.store.delay(seconds=0.02)
    scene.store.fail("set_many", lambda operation: BackendTimeout(operation, reason="locked"), prefix="cc:e:")
    assert await cache.set("q", "new") is False
    written = scene.store.count("set_many")
    scene.store.heal()
    await asyncio.sleep(5)
    assert cache.stats.pending == 0
    assert scene.store.count("set_many") == written + 1  # the tombstone
    assert await scene.cache().get("q") is None


@virtual
async def test_a_bug_in_a_serializer_reaches_its_caller(scene: Scene) -> None:
    class Buggy(MsgpackSerializer):
        def dumps(self, value: Any, context: EntryContext) -> bytes:
            if value == "bug":
                raise ZeroDivisionError
            return super().dumps(value, context)

    cache = scene.cache(serializer=Buggy())
    outcomes = await asyncio.gather(*(cache.set(n, n or "bug") for n in range(3)), return_exceptions=True)
    assert isinstance(outcomes[0], ZeroDivisionError)
    assert outcomes[1:] == [True, True]


@virtual
async def test_closing_waits_for_a_write_under_way(scene: Scene) -> None:
    cache = scene.cache()
    await cache.set("warm", 0)
    scene.store.delay(seconds=0.2)
    asked = asyncio.ensure_future(cache.set("q", "value"))
    await asyncio.sleep(0.05)
    await cache.aclose()
    assert await asked is True
    scene.store.heal()
    assert await scene.cache().get("q") == "value"
