"""One computation for all callers of a key."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextvars import ContextVar
from typing import Any

import pytest

from cachecore.contract.errors import FlightCycleError
from cachecore.contract.results import Computed
from tests.unit.virtual_caches import Answer, Scene, soon, virtual


@virtual
async def test_twenty_callers_of_a_failing_factory_are_one_call(scene: Scene) -> None:
    """The exception is shared like a value: one call in 50 ms, not twenty in a row."""
    cache, factory = scene.cache(), Answer(0.05, error=ValueError("no"))
    began = scene.clock.monotonic()
    outcomes = await asyncio.gather(*(cache.get_or_set("q", factory) for _ in range(20)), return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == ["no"] * 20
    assert factory.calls == 1
    assert scene.clock.monotonic() - began < 0.06


@virtual
async def test_factory_timeout_cancels_and_frees_the_key(scene: Scene) -> None:
    cache, stuck = scene.cache(factory_timeout=2), Answer(3600)
    with pytest.raises(TimeoutError):
        await cache.get_or_set("q", stuck)
    assert await cache.get_or_set("q", Answer()) == 1
    assert stuck.cancelled == 1


@virtual
async def test_factory_that_ignores_its_cancellation_holds_nobody(scene: Scene) -> None:
    """What it returns long after its time is not stored: its claim was given up with its time."""
    cache = scene.cache(factory_timeout=1)

    async def deaf() -> str:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            await asyncio.sleep(600)
        return "late"

    with pytest.raises(TimeoutError):
        await cache.get_or_set("q", deaf)
    await asyncio.sleep(700)
    assert await cache.get("q") is None
    assert cache.stats.not_stored == {"changed": 1}


@virtual
async def test_factory_runs_in_the_context_of_the_first_caller(scene: Scene) -> None:
    who: ContextVar[str] = ContextVar("who", default="nobody")
    cache = scene.cache()

    async def say() -> str:
        await asyncio.sleep(0.01)
        return who.get()

    async def ask(name: str) -> Any:
        who.set(name)
        return await cache.get_or_set("q", say)

    assert list(await asyncio.gather(ask("first"), ask("second"))) == ["first", "first"]


@virtual
async def test_own_key_and_rings_of_keys_are_errors_not_hangs(scene: Scene) -> None:
    cache = scene.cache()

    async def itself() -> Any:
        return await cache.get_or_set("a", itself)

    async def ring_a() -> Any:
        return await cache.get_or_set("rb", ring_b)

    async def ring_b() -> Any:
        return await cache.get_or_set("ra", ring_a)

    with pytest.raises(FlightCycleError):
        await cache.get_or_set("a", itself)
    with pytest.raises(FlightCycleError):
        await cache.get_or_set("ra", ring_a)


@virtual
async def test_task_left_behind_by_a_factory_may_ask_for_its_key(scene: Scene) -> None:
    """The factory has returned and waits for nobody: no ring."""
    cache = scene.cache()
    left: list[asyncio.Task[Any]] = []

    async def later() -> Any:
        await asyncio.sleep(1)
        await cache.delete("a")
        return await cache.get_or_set("a", Answer())

    async def factory() -> int:
        left.append(asyncio.ensure_future(later()))
        return 0

    assert await cache.get_or_set("a", factory) == 0
    assert await left[0] == 1


@virtual
async def test_leases_of_two_processes_never_wait_for_each_other(scene: Scene) -> None:
    """Each process holds one key's lease and its factory asks for the other's: both compute instead of waiting."""
    one, two = scene.cache(), scene.cache()

    async def nested(cache: Any, other: str) -> Any:
        await asyncio.sleep(0.1)
        return await cache.get_or_set(other, Answer(0.1))

    began = scene.clock.monotonic()
    await asyncio.gather(
        one.get_or_set("a", lambda: nested(one, "b")),
        two.get_or_set("b", lambda: nested(two, "a")),
    )
    assert scene.clock.monotonic() - began < 1


@virtual
async def test_caller_after_an_invalidation_starts_anew(scene: Scene) -> None:
    """Those who waited before get the old flight's answer, those who come later a new one's; the newer is stored."""
    cache = scene.cache(tags=["all"])

    async def around(invalidate: Awaitable[object]) -> None:
        factory = Answer(0.1)
        (before,) = await soon(lambda: cache.get_or_set("q", factory), 1)
        await invalidate
        (after,) = await soon(lambda: cache.get_or_set("q", factory), 1)
        assert [await before, await after] == [1, 2]
        assert await cache.get("q") == 2
        await cache.delete("q")

    await around(cache.delete("q"))
    await around(cache.invalidate_tags("all"))
    await around(cache.invalidate_all())


@virtual
async def test_foreign_invalidation_reaches_those_who_join_late(scene: Scene) -> None:
    """Another process deletes while a factory runs: who asked before it is answered, who joined after it asks again."""
    one, two = scene.cache(), scene.cache()
    factory = Answer(0.1)
    (before,) = await soon(lambda: one.get_or_set("q", factory), 1)
    await two.delete("q")
    (after,) = await soon(lambda: one.get_or_set("q", factory), 1)
    assert (await before, await after) == (1, 2)


@virtual
async def test_caller_with_a_tag_that_the_flight_lacks_does_not_join(scene: Scene) -> None:
    cache, factory = scene.cache(), Answer(0.1)
    (plain,) = await soon(lambda: cache.get_or_set("q", factory), 1)
    await cache.invalidate_tags("doc")  # did not concern the flight
    (tagged,) = await soon(lambda: cache.get_or_set("q", factory, tags=["doc"]), 1)
    assert (await plain, await tagged) == (1, 2)


@virtual
async def test_refresh_joins_nothing_and_its_answer_is_the_one_that_stays(scene: Scene) -> None:
    cache = scene.cache()
    slow = Answer(1)
    (earlier,) = await soon(lambda: cache.get_or_set("q", slow), 1)

    async def fresh() -> str:
        await asyncio.sleep(2)
        return "fresh"

    assert await cache.refresh("q", fresh) == "fresh"
    assert await earlier == 1
    assert await cache.get("q") == "fresh"


@virtual
async def test_joiners_share_nothing_mutable(scene: Scene) -> None:
    cache = scene.cache()

    async def make() -> dict[str, list[int]]:
        await asyncio.sleep(0.01)
        return {"list": [1]}

    answers = await asyncio.gather(*(cache.get_or_set("q", make) for _ in range(3)))
    answers[0]["list"].append(2)
    answers[1]["list"].append(3)
    assert answers[2] == {"list": [1]} == await cache.get("q")


@virtual
async def test_closing_waits_for_what_runs_behind_and_takes_nobodys_answer(scene: Scene) -> None:
    """A caller who waits gets its answer even if it takes longer than closing does."""
    cache = scene.cache()
    (waiting,) = await soon(lambda: cache.get_or_set("q", Answer(30)), 1)
    began = scene.clock.monotonic()
    await cache.aclose()
    assert scene.clock.monotonic() - began < 1.5
    assert await waiting == 1


@virtual
async def test_soft_timeout_serves_stale_and_lets_the_factory_finish(scene: Scene) -> None:
    cache = scene.cache(stale_if_error=600, soft_timeout=0.5)
    await cache.set("q", "old")
    await cache.expire("q")
    began, factory = scene.clock.monotonic(), Answer(5)
    lookup = await cache.lookup("q", factory)
    assert (lookup.value, lookup.outcome) == ("old", "stale")
    assert 0.49 < scene.clock.monotonic() - began < 0.6
    await asyncio.sleep(6)
    assert await cache.get("q") == 1
    assert factory.calls == 1


@virtual
async def test_soft_timeout_serves_nothing_that_was_invalidated_meanwhile(scene: Scene) -> None:
    cache = scene.cache(stale_if_error=600, soft_timeout=0.5)
    await cache.set("q", "old", tags=["t"])
    await cache.expire("q")
    (asked,) = await soon(lambda: cache.get_or_set("q", Answer(2)), 1)
    await cache.invalidate_tags("t")
    assert await asked in (1, "old")  # it asked before: either is right, if it is verified
    assert await cache.get("q") != "old"


@virtual
async def test_computed_says_how_it_is_stored(scene: Scene) -> None:
    cache = scene.cache()

    async def short() -> Computed[str]:
        return Computed("short", ttl=1)

    async def never() -> Computed[str]:
        return Computed("never", store=False)

    assert await cache.get_or_set("s", short) == "short"
    assert await cache.get_or_set("n", never) == "never"
    assert (await cache.get("s"), await cache.get("n")) == ("short", None)
    await asyncio.sleep(1.1)
    assert await cache.get("s") is None
