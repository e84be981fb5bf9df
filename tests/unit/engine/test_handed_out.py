"""A store that acknowledges an answer late holds up nobody who came in time, and nobody reads anything older."""

from __future__ import annotations

import asyncio
from typing import Any

from cachecore import Cache, bypass
from tests.unit.virtual_caches import Answer, Scene, soon, virtual

AWAY = 0.03
"""Seconds of a round trip."""


def far(scene: Scene, **options: Any) -> Cache[Any]:
    """Return a cache whose store is far away from now on."""
    cache = scene.cache(backend_timeout=5, **options)
    for operation in ("get_many", "swap"):
        scene.store.delay(operation, AWAY)
    return cache


async def timed(cache: Cache[Any], request: str, factory: Answer) -> tuple[Any, float]:
    """Return the answer and the seconds that it took."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    return await cache.get_or_set(request, factory), loop.time() - began


@virtual
async def test_miss_waits_for_read_claim_and_factory_alone(scene: Scene) -> None:
    near = scene.cache()
    await near.set("another", 0)  # the stamps are there
    cache = far(scene)
    value, seconds = await timed(cache, "q", Answer(0.05))
    assert value == 1
    assert seconds < 2 * AWAY + 0.05 + 0.01
    await asyncio.sleep(1)
    assert cache.stats.stored == 1
    assert await near.get("q") == 1


@virtual
async def test_acknowledgement_is_waited_for_where_it_comes_soon(scene: Scene) -> None:
    cache = scene.cache()
    await cache.get_or_set("q", Answer())
    assert cache.stats.stored == 1


async def handed_out(scene: Scene, **options: Any) -> Cache[Any]:
    """Return a cache whose callers have the answer 1 to `q`, which the store takes half a second to acknowledge."""
    cache = scene.cache(backend_timeout=5, **options)
    (asked,) = await soon(lambda: cache.get_or_set("q", Answer(0.05)), 1)
    scene.store.delay("swap", 0.5)
    assert await asked == 1
    assert cache.stats.stored == 0
    return cache


@virtual
async def test_who_has_the_answer_finds_it_with_get(scene: Scene) -> None:
    """Although a read that overtakes the write finds the claim."""
    cache = await handed_out(scene, l1_max_entries=0)
    assert await cache.get("q") == 1


@virtual
async def test_who_has_the_answer_finds_it_with_lookup(scene: Scene) -> None:
    cache = await handed_out(scene, l1_max_entries=0)
    found = await cache.lookup("q")
    assert (found.value, found.outcome) == (1, "hit")


@virtual
async def test_who_has_the_answer_finds_it_with_exists(scene: Scene) -> None:
    cache = await handed_out(scene, l1_max_entries=0)
    assert await cache.exists("q")


@virtual
async def test_who_has_the_answer_finds_it_in_a_batch(scene: Scene) -> None:
    cache = await handed_out(scene, l1_max_entries=0)
    assert await cache.get_many(["q", "another"]) == {"q": 1}


@virtual
async def test_who_has_the_answer_computes_it_no_more(scene: Scene) -> None:
    cache = await handed_out(scene)
    factory = Answer()
    assert await cache.get_or_set("q", factory) == 1
    assert factory.calls == 0


@virtual
async def test_closing_stores_it(scene: Scene) -> None:
    cache = await handed_out(scene)
    await cache.aclose()
    scene.store.heal()
    assert await scene.cache().get("q") == 1


@virtual
async def test_other_processes_wait_for_it(scene: Scene) -> None:
    cache, other = far(scene), scene.cache(backend_timeout=5)
    first, second = Answer(0.05), Answer()
    assert await cache.get_or_set("q", first) == 1
    assert await other.get_or_set("q", second) == 1
    assert (first.calls, second.calls) == (1, 0)


@virtual
async def test_delete_after_it_wins(scene: Scene) -> None:
    """Whether the write or the deletion reaches the store first."""
    cache = await handed_out(scene)
    await cache.delete("q")
    await asyncio.sleep(1)
    assert await cache.get("q") is None
    assert cache.peek("q") is None


@virtual
async def test_large_answer_is_acknowledged_first(scene: Scene) -> None:
    """It may not have left this process by then."""
    cache = far(scene)

    async def large() -> bytes:
        return bytes(100_000)

    await cache.get_or_set("q", large)
    assert cache.stats.stored == 1


@virtual
async def test_refresh_is_acknowledged_first(scene: Scene) -> None:
    cache = far(scene, l1_max_age=60)
    await cache.set("q", "old")
    assert await cache.refresh("q", Answer()) == 1
    assert cache.stats.stored == 2
    assert await cache.get("q") == 1


@virtual
async def test_late_joiners_wait_for_the_verdict(scene: Scene) -> None:
    """Who joins after an invalidation by another process gets no answer from before it."""
    cache, other = scene.cache(backend_timeout=5), scene.cache(backend_timeout=5)
    await cache.set("another", 0, tags=["t"])
    factory = Answer(1)
    (early,) = await soon(lambda: cache.get_or_set("q", factory, tags=["t"]), 1)
    await asyncio.sleep(0.5)
    await other.invalidate_tags("t")
    (late,) = await soon(lambda: cache.get_or_set("q", factory, tags=["t"]), 1)
    scene.store.delay("swap", AWAY)
    assert (await early, await late) == (1, 2)


@virtual
async def test_near_store_that_is_late_once_is_waited_for(scene: Scene) -> None:
    """Another process that is asked after the answer was given finds it."""
    cache, other = scene.cache(), scene.cache()
    (asked,) = await soon(lambda: cache.get_or_set("q", Answer(0.05)), 1)
    scene.store.delay("swap", AWAY)
    assert await asked == 1
    assert await other.get("q") == 1


@virtual
async def test_factory_may_give_its_answer_before_it_returns(scene: Scene) -> None:
    """It has the answer, and goes on: the caller's next request waits until it is stored, and computes nothing."""
    cache, other, told = scene.cache(backend_timeout=5), scene.cache(backend_timeout=5), asyncio.Event()

    async def factory() -> int:
        await asyncio.sleep(0.05)
        assert cache.hand_over()
        told.set()
        await asyncio.sleep(0.5)
        return 1

    (asked,) = await soon(lambda: cache.get_or_set("q", factory), 1)
    await told.wait()
    second = Answer()
    assert await cache.get("q") == 1
    assert await cache.get_or_set("q", second) == 1
    assert await other.get_or_set("q", second) == 1
    assert (await asked, second.calls) == (1, 0)


@virtual
async def test_factory_over_older_bytes_may_not(scene: Scene) -> None:
    """Another process may still read them."""
    cache, told = scene.cache(ttl=10, stale_if_error=600), list[bool]()

    async def factory() -> int:
        told.append(cache.hand_over())
        return 2

    await cache.set("q", 1)
    await asyncio.sleep(20)
    assert await cache.get_or_set("q", factory) == 2
    assert told == [False]


@virtual
async def test_other_code_may_not_hand_over(scene: Scene) -> None:
    """Outside of a factory, and in that of another cache; nor one that runs outside the cache."""
    cache, other, told = scene.cache(), scene.cache(), list[bool]()

    async def factory() -> int:
        told.append(other.hand_over())
        return 1

    async def apart() -> int:
        told.append(cache.hand_over())
        return 1

    assert not cache.hand_over()
    assert await cache.get_or_set("q", factory) == 1
    with bypass():
        assert await cache.get_or_set("q", apart) == 1
    assert told == [False, False]
