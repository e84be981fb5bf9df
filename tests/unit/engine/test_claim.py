"""One computation among processes, and no answer over what was written while it was computed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from cachecore import Cache
from cachecore.contract.errors import BackendError
from cachecore.contract.protocols import CacheBackend
from cachecore.contract.tokens import TOKEN_BYTES
from cachecore.encoding.claim import NO_TOKEN, ClaimMark
from cachecore.engine.flights.claim import Claim, ClaimRules, HolderWatch, Insisting
from tests.unit.virtual_caches import Answer, Scene, soon, virtual


@virtual
async def test_two_hundred_callers_in_each_of_four_processes_are_one_call(scene: Scene) -> None:
    caches, factory = [scene.cache() for _ in range(4)], Answer(2)
    scene.store.calls.clear()
    began = scene.clock.monotonic()
    answers = await asyncio.gather(*(cache.get_or_set("q", factory) for cache in caches for _ in range(200)))
    assert set(answers) == {1}
    assert factory.calls == 1
    assert scene.clock.monotonic() - began < 2.05
    assert len(scene.store.calls) <= 200


def claim_on(cache: Cache[Any], request: str) -> Claim:
    """The claim of another process on the key of `request`."""
    engine, key = cache._engine, cache.key(request)
    return Claim(replace(engine.claim_rules, interval=0.5), key, in_place=True, life=3600)


async def killed(claim: Claim) -> None:
    """Take the claim and give no further sign of life, as a process that is killed does."""
    assert await claim.acquire(None)
    claim._fall_silent()


class _Fails:
    """A store that carries out the first swap; then swaps take a while, and fail as reads do until it is `up` again."""

    def __init__(self) -> None:
        self.swaps = 0
        self.up = False
        self.value: bytes | None = None

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        if not self.up:
            raise BackendError("get", transient=True, reason="refused")
        return [self.value]

    async def swap(self, key: str, old: bytes | None, new: bytes | None, *, ttl: float | None) -> bool:
        self.swaps += 1
        if self.swaps > 1:
            await asyncio.sleep(0.1)
            if not self.up:
                raise BackendError("swap", transient=True, reason="refused")
        self.value = new
        return True


@virtual
async def test_claim_given_up_while_the_store_fails_is_left_to_silence(scene: Scene) -> None:
    """A renewal that is under way then must not be followed by others: the key would be held for ever."""
    store = _Fails()
    backend = cast("CacheBackend", store)
    insisting = Insisting(backend, scene.clock.monotonic, 1)
    rules = ClaimRules(store=insisting, interval=0.5, token=lambda: b"t" * TOKEN_BYTES, now=scene.clock.monotonic)
    claim = Claim(rules, "k", in_place=True, life=3600)
    assert await claim.acquire(None)
    await asyncio.sleep(0.55)
    assert store.swaps == 2
    await claim.release()
    store.up = True
    await asyncio.sleep(5)
    assert store.swaps == 2


@virtual
async def test_killed_holder_is_replaced_once_within_a_second(scene: Scene) -> None:
    """Three other processes wait; when the holder is silent one of them computes and the others wait for that one."""
    waiting = [scene.cache() for _ in range(3)]
    await killed(claim_on(waiting[0], "q"))
    factory, began = Answer(0.2), scene.clock.monotonic()
    answers = await asyncio.gather(*(cache.get_or_set("q", factory) for cache in waiting for _ in range(10)))
    assert set(answers) == {1}
    assert factory.calls == 1
    assert scene.clock.monotonic() - began < 1.0 + 0.2 + 0.1


@virtual
async def test_claim_of_a_process_that_died_long_ago_costs_no_wait(scene: Scene) -> None:
    cache = scene.cache()
    await killed(claim_on(cache, "q"))
    await asyncio.sleep(5)
    began = scene.clock.monotonic()
    assert await cache.get_or_set("q", Answer()) == 1
    assert scene.clock.monotonic() - began < 0.05
    assert await cache.get("q") == 1


@virtual
async def test_holder_that_ends_without_an_entry_lets_everybody_compute_at_once(scene: Scene) -> None:
    """Nobody waits in a row for one failure after another."""
    one, two = scene.cache(), scene.cache()
    (failing,) = await soon(lambda: one.get_or_set("q", Answer(0.3, error=ValueError("no"))), 1)
    (waiting,) = await soon(lambda: two.get_or_set("q", Answer(0.1)), 1)
    began = scene.clock.monotonic()
    assert isinstance((await asyncio.gather(failing, return_exceptions=True))[0], ValueError)
    assert await waiting == 1
    assert scene.clock.monotonic() - began < 0.3 + 0.05 + 0.1 + 0.01


def judged(*looks: tuple[float, ClaimMark | None, bool]) -> list[str]:
    """What a watch of the holder `A` tells at each look: (monotonic second, claim, whether anything is there)."""
    watch = HolderWatch(ClaimMark(A, NO_TOKEN, False, 100.0), interval=0.5, now=0.0, age=0.0)
    return [watch.judge(mark, present=present, now=now) for now, mark, present in looks]


A, B, C = (bytes([number]) * TOKEN_BYTES for number in (1, 2, 3))


def sign(token: bytes, time: float = 100.0, *, previous: bytes = NO_TOKEN, ended: bool = False) -> ClaimMark:
    return ClaimMark(token, previous, ended, time)


def test_holder_is_alive_while_it_gives_signs_of_life() -> None:
    looks = [(0.8, sign(A, 100.5), True), (1.6, sign(A, 101.0), True), (2.4, sign(A, 101.0), True)]
    assert judged(*looks) == ["wait", "wait", "wait"]
    assert judged((0.8, sign(A), True), (0.91, sign(A), True)) == ["wait", "silent"]


def test_absence_is_silence_and_other_bytes_are_an_end() -> None:
    """A store may evict the claim of a holder that goes on; what is stored over it ends the wait."""
    assert judged((0.5, None, False), (0.91, None, False)) == ["wait", "silent"]
    assert judged((0.1, None, True)) == ["over"]


def test_end_without_an_answer_is_seen_although_another_took_the_place() -> None:
    assert judged((0.1, sign(A, ended=True), True)) == ["over"]
    assert judged((0.1, sign(B, previous=A), True)) == ["over"]


def test_one_successor_of_a_silent_holder_is_waited_for() -> None:
    assert judged((1.0, sign(B), True), (1.8, sign(B), True), (1.95, sign(B), True)) == ["wait", "wait", "silent"]
    assert judged((1.0, sign(B), True), (1.1, sign(C), True)) == ["wait", "over"]


@virtual
async def test_long_computations_keep_their_claim(scene: Scene) -> None:
    one, two, factory = scene.cache(), scene.cache(), Answer(30)
    (first,) = await soon(lambda: one.get_or_set("q", factory), 1)
    assert await two.get_or_set("q", factory) == 1
    assert await first == 1
    assert factory.calls == 1


@virtual
async def test_holder_whose_loop_was_blocked_keeps_its_claim(scene: Scene) -> None:
    """A factory that blocks the loop of its process keeps the claim as long as no other process takes it."""
    one, two = scene.cache(), scene.cache()

    async def blocking() -> str:
        scene.clock.loop.stall(3)
        await asyncio.sleep(1)
        return "answer"

    (first,) = await soon(lambda: one.get_or_set("q", blocking), 1)
    await asyncio.sleep(0.2)  # its renewal has run
    other = Answer()
    assert await two.get_or_set("q", other) == "answer"
    assert await first == "answer"
    assert other.calls == 0


@virtual
async def test_answer_is_not_stored_when_its_claim_is_gone(scene: Scene) -> None:
    """Whatever took it: with it a store may have evicted the tombstone of a deletion that came meanwhile."""
    one, two = scene.cache(), scene.cache()
    (running,) = await soon(lambda: one.get_or_set("q", Answer(1)), 1)
    await two.delete("q")
    await scene.memory.delete_many([one.key("q")])  # as an eviction would
    assert await running == 1
    assert await two.get("q") is None
    assert one.stats.not_stored == {"changed": 1}


@virtual
async def test_answer_is_not_stored_over_a_set_that_was_evicted(scene: Scene) -> None:
    one, two = scene.cache(), scene.cache()
    (running,) = await soon(lambda: one.get_or_set("q", Answer(1)), 1)
    await two.set("q", "new")
    await scene.memory.delete_many([one.key("q")])
    assert await running == 1
    assert await one.get("q") is None


@virtual
async def test_computation_that_cannot_claim_stores_nothing(scene: Scene) -> None:
    one = scene.cache(l1_max_entries=0)
    await one.get("other")
    scene.store.fail("swap", times=1)
    assert await one.get_or_set("q", Answer(1)) == 1
    assert await one.get("q") is None


@virtual
async def test_miss_costs_four_calls_of_the_store(scene: Scene) -> None:
    """Read, claim, store, read back; the stamps of the namespace are there already."""
    cache = scene.cache()
    await cache.get_or_set("first", Answer())
    scene.store.calls.clear()
    await cache.get_or_set("q", Answer())
    assert [call.operation for call in scene.store.calls] == ["get_many", "swap", "swap", "get_many"]


@virtual
async def test_running_computation_gives_two_signs_of_life_a_second(scene: Scene) -> None:
    cache = scene.cache()
    await cache.get_or_set("first", Answer())
    scene.store.calls.clear()
    await cache.get_or_set("q", Answer(10))
    assert 15 <= sum(call.operation == "swap" for call in scene.store.calls) <= 22


@virtual
async def test_callers_who_joined_after_a_foreign_delete_do_not_wait_for_the_old_computation(scene: Scene) -> None:
    """The claim is found to be gone at its next sign of life; the first caller still gets its answer."""
    one, two = scene.cache(), scene.cache()
    (first,) = await soon(lambda: one.get_or_set("q", Answer(5)), 1)
    await two.delete("q")
    began = scene.clock.monotonic()
    assert await one.get_or_set("q", Answer(0.1)) == 1
    assert scene.clock.monotonic() - began < 0.5 + 0.1 + 0.1
    assert await first == 1


@virtual
async def test_refresh_takes_the_place_of_an_older_computation(scene: Scene) -> None:
    """The older one's answer reaches its caller and is not stored."""
    one, two = scene.cache(), scene.cache()
    (older,) = await soon(lambda: one.get_or_set("q", Answer(1)), 1)
    newer = Answer(0.1)
    newer.calls = 7
    assert await two.refresh("q", newer) == 8
    assert await older == 1
    assert await one.get("q") == 8


@virtual
async def test_entry_lost_behind_an_early_refresh_is_stored_with_stamps_from_before(scene: Scene) -> None:
    """The copy in memory says nothing of the store: entry and stamps are read before the factory runs."""
    cache = scene.cache(refresh_ahead=1e6, l1_max_age=60, tags=["t"])
    await cache.get_or_set("q", Answer(1))
    await scene.memory.delete_many([cache.key("q")])
    other = scene.cache(tags=["t"])
    (first,) = await soon(lambda: cache.get_or_set("q", Answer(1)), 1)
    assert await first == 1
    await other.invalidate_tags("t")
    await asyncio.sleep(3)
    assert await other.get("q") is None


@virtual
async def test_store_that_is_down_gives_no_claim_and_no_wait(scene: Scene) -> None:
    one = scene.cache()
    scene.store.fail(None)
    began = scene.clock.monotonic()
    assert await one.get_or_set("q", Answer()) == 1
    assert scene.clock.monotonic() - began < 0.06


@pytest.mark.usefixtures("default_deadlines")
@virtual
async def test_store_that_hangs_costs_one_deadline_then_nothing(scene: Scene) -> None:
    cache = scene.cache()
    await cache.get("another")  # so that the store is known to be near
    scene.store.hang(None, swallow=None)
    began = scene.clock.monotonic()
    assert await cache.get_or_set("q", Answer()) == 1
    assert scene.clock.monotonic() - began < 0.06
    for _ in range(5):
        await cache.get_or_set("q", Answer())
    began = scene.clock.monotonic()
    assert await cache.get_or_set("q", Answer()) == 1
    assert scene.clock.monotonic() - began < 0.002


@virtual
async def test_store_that_hangs_while_an_answer_lands_costs_a_bounded_wait(scene: Scene) -> None:
    """The factory has returned; the answer reaches its caller although nothing can be stored."""
    cache = scene.cache()

    async def factory() -> str:
        scene.store.hang(None, swallow=None)
        return "paid for"

    began = scene.clock.monotonic()
    assert await cache.get_or_set("q", factory) == "paid for"
    assert scene.clock.monotonic() - began < 0.2


@pytest.mark.usefixtures("default_deadlines")
@virtual
async def test_waiter_whose_look_is_late_goes_on_waiting(scene: Scene) -> None:
    """A late look is as little news of the holder as a silent holder: only silence for long makes a second call."""
    holder, waiter = scene.cache(), scene.cache(breaker_failures=1000)
    await waiter.get("another")
    working, second = Answer(3.0), Answer()
    first = asyncio.ensure_future(holder.get_or_set("q", working))
    await asyncio.sleep(0.1)
    waiting = asyncio.ensure_future(waiter.get_or_set("q", second))
    await asyncio.sleep(0.1)
    for _ in range(3):  # three looks of each second are late
        scene.store.hang("get_many", times=3)
        await asyncio.sleep(0.9)
    assert await first == await waiting == 1
    assert (working.calls, second.calls) == (1, 0)


@virtual
async def test_waiter_computes_at_once_where_the_store_refuses(scene: Scene) -> None:
    holder, waiter = scene.cache(), scene.cache()
    await waiter.get("another")
    working, second = Answer(3.0), Answer()
    first = asyncio.ensure_future(holder.get_or_set("q", working))
    await asyncio.sleep(0.1)
    waiting = asyncio.ensure_future(waiter.get_or_set("q", second))
    await asyncio.sleep(0.1)
    scene.store.fail(None)
    began = scene.clock.monotonic()
    assert await waiting == 1
    assert scene.clock.monotonic() - began < 0.2
    assert second.calls == 1
    scene.store.heal()
    await first


@virtual
async def test_a_mark_that_is_made_again_costs_those_who_wait_no_call(scene: Scene) -> None:
    """A store that evicts may let the mark go: a look that is not trusted for once says nothing of the holder."""
    caches, factory = [scene.cache(l1_max_entries=0) for _ in range(3)], Answer(3)
    for cache in caches:
        await cache.set("warm", 1)
    running = [asyncio.ensure_future(cache.get_or_set("q", factory)) for cache in caches]
    await asyncio.sleep(1)
    await scene.memory.delete_many(["cc.m:"])
    await caches[0].set("warm", 2)
    assert await asyncio.gather(*running) == [1, 1, 1]
    assert factory.calls == 1
    assert sum(cache.stats.backend_errors.get("get_many:rewound", 0) for cache in caches) > 0
