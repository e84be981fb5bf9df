"""One computation among processes, as far as a lease can bring it about; safety never rests on it."""

from __future__ import annotations

import asyncio

from cachecore.engine.flights.lease import Lease, ended
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


@virtual
async def test_killed_holder_is_replaced_once_within_a_lease(scene: Scene) -> None:
    """Three other processes wait; when the lease has run out one of them computes and the others wait for that one."""
    waiting = [scene.cache() for _ in range(3)]
    killed = Lease(scene.store, waiting[0]._scope.keys.lease_key(waiting[0].key("q")), ttl=0.5)
    assert await killed.acquire() is None
    task = killed._renewing
    assert task is not None
    task.cancel()  # as SIGKILL would
    factory, began = Answer(0.2), scene.clock.monotonic()
    answers = await asyncio.gather(*(cache.get_or_set("q", factory) for cache in waiting for _ in range(10)))
    assert set(answers) == {1}
    assert factory.calls == 1
    assert scene.clock.monotonic() - began < 0.5 + 0.2 + 0.15


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


@virtual
async def test_who_waits_for_a_failure_learns_of_it_although_another_took_its_place(scene: Scene) -> None:
    first = Lease(scene.store, "cc.l:q", ttl=0.5)
    second = Lease(scene.store, "cc.l:q", ttl=0.5)
    assert await first.acquire() is None
    holder = await second.acquire()
    assert holder is not None
    await first.release(stored=False)
    assert await second.acquire() is None
    (seen,) = await scene.memory.get_many(["cc.l:q"])
    assert ended(seen, holder)
    assert not ended(seen, b"x" * 16)
    await second.release(stored=True)
    assert await scene.memory.get_many(["cc.l:q"]) == [None]


@virtual
async def test_long_computations_keep_their_lease(scene: Scene) -> None:
    one, two, factory = scene.cache(), scene.cache(), Answer(30)
    (first,) = await soon(lambda: one.get_or_set("q", factory), 1)
    assert await two.get_or_set("q", factory) == 1
    assert await first == 1
    assert factory.calls == 1


@virtual
async def test_holder_whose_loop_was_blocked_takes_its_lease_back(scene: Scene) -> None:
    """A factory that blocks the loop for longer than the lease lives holds it again afterwards, if nobody took it."""
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
async def test_store_that_is_down_gives_no_lease_and_no_wait(scene: Scene) -> None:
    one = scene.cache()
    scene.store.fail(None)
    began = scene.clock.monotonic()
    assert await one.get_or_set("q", Answer()) == 1
    assert scene.clock.monotonic() - began < 0.06


@virtual
async def test_store_that_hangs_costs_one_deadline_then_nothing(scene: Scene) -> None:
    cache = scene.cache()
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
