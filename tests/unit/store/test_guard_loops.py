"""One guard in many loops and threads."""

from __future__ import annotations

import asyncio
import sys
import threading

import pytest

from cachecore.contract.errors import BackendUnavailable
from tests.unit.store.guarded import Guarded, until


async def written(made: Guarded, value: bytes) -> None:
    await made.guard.set_many({"k": value}, ttl=None)


def test_one_guard_serves_loop_after_loop_and_keeps_none() -> None:
    made = Guarded()
    for i in range(100):
        asyncio.run(written(made, b"%d" % i))
        assert asyncio.run(made.guard.get_many(["k"])) == [b"%d" % i]
    assert len(made.guard._calls.bulkheads()) == 1


def test_loops_in_threads_share_the_breaker() -> None:
    """Each thread gets its own answers; what one of them learned of the store, all know."""
    made = Guarded(backend_timeout=30)
    wrong: list[object] = []

    async def use(name: str) -> None:
        for i in range(100):
            await made.guard.set_many({name: b"%d" % i}, ttl=None)
            got = await asyncio.gather(*(made.guard.get_many([name]) for _ in range(5)))
            if got != [[b"%d" % i]] * 5:
                wrong.append(got)

    threads = [threading.Thread(target=lambda name=name: asyncio.run(use(name))) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []
    made.store.fail()
    for _ in range(3):
        with pytest.raises(BackendUnavailable):
            asyncio.run(made.guard.get_many(["k"]))
    assert made.guard.states() == {"": "open"}
    with pytest.raises(BackendUnavailable, match="breaker_open"):
        asyncio.run(made.guard.get_many(["k"]))


def test_loop_that_ends_during_a_call_leaves_the_guard_usable() -> None:
    """The call of a loop that is shut down says nothing of the store, not even when it was the probe."""
    made = Guarded(backend_timeout=30)
    made.store.hang("get_many", times=20)

    async def leave() -> None:
        for i in range(5):
            asyncio.ensure_future(made.guard.get_many([f"k{i}"]))  # noqa: RUF006 - left behind on purpose
        await until(lambda: made.store.hanging == 5)

    for _ in range(4):
        asyncio.run(leave())
    assert made.guard.states() == {"": "closed"}
    assert asyncio.run(made.guard.get_many(["k"])) == [None]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="tasks start eagerly from Python 3.12 on")
async def test_tasks_that_start_eagerly() -> None:
    """Where a task may end before it is made, calls get their answers all the same, however many wait for a place."""
    factory = getattr(asyncio, "eager_task_factory")  # noqa: B009 - not in the oldest Python's types
    asyncio.get_running_loop().set_task_factory(factory)
    made = Guarded(backend_timeout=30, max_in_flight=1)
    made.store.hang("get_many", times=1)
    calls = [asyncio.ensure_future(made.guard.get_many([f"k{i}"])) for i in range(3000)]
    await until(lambda: made.store.hanging == 1)
    made.store.heal()
    assert await asyncio.gather(*calls) == [[None]] * 3000
    made.store.fail("get_many", times=1)
    with pytest.raises(BackendUnavailable):
        await made.guard.get_many(["k"])
    assert made.guard.under_way == 0
