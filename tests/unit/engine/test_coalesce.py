"""Reads asked for in one tick are one read of the store; copies in memory follow what is known of the store."""

from __future__ import annotations

import asyncio
import random
import threading
from typing import Any

import pytest

from cachecore import Cache
from cachecore.contract.protocols import EntryContext
from cachecore.engine.flights import coalesce
from cachecore.serializers.msgpack import MsgpackSerializer
from cachecore.store.memory_backend import MemoryBackend
from cachecore.testing.faulty import FaultyBackend
from cachecore.testing.virtual import VirtualClock
from tests.unit.virtual_caches import Answer, Scene, soon, virtual


@virtual
async def test_reads_of_one_tick_are_one_read_with_each_key_once(scene: Scene) -> None:
    cache = scene.cache(l1_max_entries=0)
    await cache.get("warm")
    scene.store.calls.clear()
    await asyncio.gather(*(cache.get(number % 20) for number in range(100)))
    (call,) = scene.store.calls
    assert call.operation == "get_many"
    assert len(call.keys) == len(set(call.keys)) == 20 + 2  # the stamp of the root and the mark in the same trip


@virtual
async def test_lone_read_waits_for_no_turn_of_the_loop(scene: Scene) -> None:
    """Nobody is left who could ask for more in this tick, so the store is asked within the call itself."""
    cache = scene.cache(l1_max_entries=0)
    await cache.get("warm")
    await asyncio.sleep(0.001)  # and nothing is left to run
    scene.store.calls.clear()
    asking = cache.get("q")
    asking.send(None)
    await asyncio.sleep(0)  # the guard's task for the call
    assert len(scene.store.calls) == 1
    asking.close()


class OtherLoop(asyncio.SelectorEventLoop):
    """Has the queue it inherits, and keeps its callbacks elsewhere, as loops on top of a toolkit's do."""

    def call_soon(  # type: ignore[override] # its stub is more general
        self, callback: Any, *args: Any, context: Any = None
    ) -> Any:
        return self.call_later(0, callback, *args, context=context)


def test_loops_of_another_make_read_together() -> None:
    async def main() -> None:
        store = FaultyBackend(MemoryBackend())
        cache = Cache[int](store, ttl=60, l1_max_entries=0)
        await cache.get("warm")
        store.calls.clear()
        await asyncio.gather(*(cache.get(number) for number in range(20)))
        assert len(store.calls) == 1
        await cache.aclose()

    with asyncio.Runner(loop_factory=OtherLoop) as runner:
        runner.run(main())
        assert coalesce._ready_of(runner.get_loop()) is None
    with asyncio.Runner() as runner:
        assert coalesce._ready_of(runner.get_loop()) is not None


@virtual
async def test_readers_who_share_an_answer_share_its_end(scene: Scene) -> None:
    """Each of them looks at the clock: what ended while another was being served is not served."""

    class Slow(MsgpackSerializer):
        def loads(self, data: bytes, context: EntryContext) -> Any:
            scene.clock.loop.stall(0.4)
            return super().loads(data, context)

    cache = scene.cache(ttl=1, l1_max_entries=0, serializer=Slow())
    await cache.set("q", "value")
    answers = await asyncio.gather(*(cache.get("q") for _ in range(6)))
    assert answers == ["value"] * 3 + [None] * 3


@pytest.mark.parametrize("eager", [False, True])
def test_tasks_that_begin_together_read_together(eager: bool) -> None:
    """Also where tasks run as soon as they are made, which no queue of the loop shows."""
    factory_of_tasks = getattr(asyncio, "eager_task_factory", None)
    if eager and factory_of_tasks is None:
        pytest.skip("tasks start eagerly from Python 3.12 on")
    clock = VirtualClock()
    if eager:
        clock.loop.set_task_factory(factory_of_tasks)

    async def main() -> None:
        store = FaultyBackend(MemoryBackend(clock=clock))
        cache = Cache[int](store, ttl=60, clock=clock, chance=random.Random(1), l1_max_entries=0)
        await cache.get("warm")
        store.calls.clear()
        await asyncio.gather(*(cache.get(number) for number in range(20)))
        assert len(store.calls) == 1
        await cache.aclose()

    clock.run(main())


@virtual
async def test_batches_are_bounded(scene: Scene) -> None:
    cache = scene.cache(l1_max_entries=0, batch_keys=16)
    await cache.get("warm")
    scene.store.calls.clear()
    await asyncio.gather(*(cache.get(number, tags=[f"t{number}"]) for number in range(100)))
    assert all(len(call.keys) <= 2 * 16 + 2 for call in scene.store.calls)
    assert len(scene.store.calls) == 7


@virtual
async def test_store_works_for_one_half_of_many_readers_while_the_other_half_runs(scene: Scene) -> None:
    """Readers who go on and on fall into two batches, each asked for in one tick, and all get what they asked for."""
    cache = scene.cache(l1_max_entries=0)
    await asyncio.gather(*(cache.set(number, f"answer {number}") for number in range(300)))
    scene.store.calls.clear()

    async def reader(first: int) -> None:
        for number in range(first, 300, 100):
            assert await cache.get(number) == f"answer {number}"

    await asyncio.gather(*(reader(first) for first in range(100)))
    entries = [{key for key in call.keys if key.startswith("cc:e:")} for call in scene.store.calls]
    assert [len(part) for part in entries] == [100, 50, 50, 50, 50]
    assert entries[1] == {cache.key(number) for number in range(100, 150)}
    assert len(set().union(*entries)) == 300


@virtual
async def test_reader_of_the_second_half_may_leave_before_its_turn(scene: Scene) -> None:
    cache = scene.cache(l1_max_entries=0)
    await cache.set("q", "value")
    readers: list[asyncio.Task[Any]] = []

    async def reader() -> Any:
        answer = await cache.get("q")
        for other in readers[50:60]:
            other.cancel()
        return answer

    readers += [asyncio.create_task(reader()) for _ in range(100)]
    answers = await asyncio.gather(*readers, return_exceptions=True)
    assert [type(answer) for answer in answers[50:60]] == [asyncio.CancelledError] * 10
    assert answers[:50] + answers[60:] == ["value"] * 90


@pytest.mark.usefixtures("default_deadlines")
@virtual
async def test_one_deadline_for_all_readers_of_a_hung_store(scene: Scene) -> None:
    cache = scene.cache()
    await cache.get("warm")
    scene.store.hang("get_many")
    began = scene.clock.monotonic()
    assert await asyncio.gather(*(cache.get(number) for number in range(50))) == [None] * 50
    assert scene.clock.monotonic() - began < 0.06


@virtual
async def test_cancelled_reader_takes_nobody_along(scene: Scene) -> None:
    cache = scene.cache(backend_timeout=5)
    await cache.set("q", "value")
    scene.store.delay("get_many", 1.0)
    other = scene.cache(backend_timeout=5)
    readers = await soon(lambda: other.get("q"), 10)
    for reader in readers[::2]:
        reader.cancel()
    answers = await asyncio.gather(*readers, return_exceptions=True)
    assert answers[1::2] == ["value"] * 5
    assert all(isinstance(answer, asyncio.CancelledError) for answer in answers[::2])


@virtual
async def test_answers_share_nothing_mutable_whichever_tier_they_come_from(scene: Scene) -> None:
    cache = scene.cache()

    async def factory() -> dict[str, list[int]]:
        await asyncio.sleep(0.01)
        return {"list": [1]}

    own, joined = await asyncio.gather(cache.get_or_set("q", factory), cache.get_or_set("q", factory))
    for answer in (own, joined, cache.peek("q"), await scene.cache().get("q")):
        assert answer == {"list": [1]}
        answer["list"].append(2)
    assert cache.peek("q") == await scene.cache().get("q") == {"list": [1]}


@virtual
async def test_computation_replaces_the_copy_in_memory(scene: Scene) -> None:
    """Also when the read back fails: then there is no copy rather than an old one."""
    cache = scene.cache(l1_max_age=60)
    await cache.set("q", "old")
    assert cache.peek("q") == "old"

    async def factory() -> str:
        return "new"

    scene.store.calls.clear()
    assert await cache.refresh("q", factory) == "new"
    assert cache.peek("q") == "new"


def test_eager_tasks_change_nothing() -> None:
    """From Python 3.12 on tasks may run at once when they are made: before their flight's first caller has joined."""
    factory_of_tasks = getattr(asyncio, "eager_task_factory", None)
    clock = VirtualClock()
    if factory_of_tasks is not None:
        clock.loop.set_task_factory(factory_of_tasks)

    async def main() -> None:
        store = MemoryBackend(clock=clock)
        cache = Cache[int](store, ttl=60, clock=clock, chance=random.Random(1), lease_ttl=None)
        assert await cache.get_or_set("q", Answer()) == 1
        await store.aclose()  # from now on nothing waits for anything
        assert await cache.get_or_set("r", Answer()) == 1
        await cache.aclose()

    clock.run(main())


def test_two_loops_see_each_others_changes_at_once() -> None:
    """Acknowledged in one thread, never older in the other, however both fill the memory they share."""
    cache = Cache[int](MemoryBackend(), ttl=60, l1_max_age=60)
    floor = [0]
    problems: list[str] = []

    async def read() -> None:
        while floor[0] < 300:
            lowest = floor[0]
            value = await cache.get("q")
            if value is not None and value < lowest:
                problems.append(f"{value} after {lowest}")

    async def write() -> None:
        for number in range(1, 301):
            if number % 3 == 0:
                await cache.delete("q")
            elif number % 3 == 1:
                await cache.set("q", number)
            else:
                await cache.invalidate_all()
            floor[0] = number

    reader = threading.Thread(target=lambda: asyncio.run(read()))
    reader.start()
    asyncio.run(write())
    reader.join()
    assert not problems
