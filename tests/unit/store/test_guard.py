"""The guard: every call ends in time with an answer or a BackendError, whatever the store and its driver do."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

import pytest

from cachecore.contract.errors import BackendError, BackendTimeout, BackendUnavailable
from cachecore.contract.options import StoreOptions
from cachecore.store import bulkhead as lane
from cachecore.store.guard import Guard
from cachecore.store.memory_backend import MemoryBackend
from cachecore.testing.clocks import FakeClock
from tests.unit.store.guarded import Guarded, Recording, until


@pytest.fixture
def made() -> Guarded:
    return Guarded()


async def test_hanging_store_is_a_timeout(made: Guarded) -> None:
    """The call ends at its deadline, and its task soon after."""
    made.store.hang()
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "get_many": lambda: made.guard.get_many(["k"]),
        "set_many": lambda: made.guard.set_many({"k": b"v"}, ttl=1),
        "delete_many": lambda: made.guard.delete_many(["k"]),
    }
    for operation, call in calls.items():
        with pytest.raises(BackendTimeout) as late:
            await call()
        assert (late.value.operation, late.value.reason, late.value.transient) == (operation, "timeout", True)
    await until(lambda: made.guard.under_way == 0)
    assert made.store.hanging == 0
    assert made.seen.errors == [("get_many", "timeout"), ("set_many", "timeout"), ("delete_many", "timeout")]


@pytest.mark.parametrize("swallow", [1, None])
async def test_deadline_holds_although_the_driver_swallows_cancellations(made: Guarded, swallow: int | None) -> None:
    """redis-py on Python 3.11 does; the caller does not wait for it, and its late answer goes nowhere."""
    await made.store.inner.set_many({"k": b"v"}, ttl=None)
    made.store.hang("get_many", swallow=swallow)
    with pytest.raises(BackendTimeout):
        await made.guard.get_many(["k"])
    await until(lambda: made.store.swallowed == 1)
    assert (made.guard.under_way, made.store.hanging) == (1, 1)
    made.store.heal()
    await until(lambda: made.guard.under_way == 0)
    assert made.seen.calls == ["get_many"]  # it ended after all, and how long it took is known
    assert made.seen.errors == [("get_many", "timeout")]


async def test_late_failures_are_consumed(made: Guarded) -> None:
    """Nobody is told of an exception in a task that was given up; the run would warn if it were left in it."""
    made.store.hang("get_many", swallow=None)
    made.store.fail("get_many", lambda operation: ValueError("late"))
    task = asyncio.ensure_future(made.guard.get_many(["k"]))
    with pytest.raises(BackendTimeout):
        await task
    hanging = [fault for fault in made.store._faults if fault.before is not None]
    assert hanging
    for waiting in list(made.store._hanging):
        waiting.set_result(None)  # the call goes on into the second fault
    await until(lambda: made.guard.under_way == 0)
    gc.collect()
    assert made.seen.errors == [("get_many", "timeout")]


async def test_task_that_does_not_end_is_cancelled_again(made: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards: a driver that swallows cancellations gives its place back in the end."""
    monkeypatch.setattr(lane, "INSIST_AFTER", 0.01)
    made.store.hang("get_many", swallow=3)
    with pytest.raises(BackendTimeout):
        await made.guard.get_many(["k"])
    await until(lambda: made.guard.under_way == 0)
    assert made.store.swallowed == 3


async def test_answer_that_came_during_a_stall_of_the_loop_is_taken() -> None:
    """A loop that was busy past the deadline still takes what the store sent meanwhile, however layered the driver."""
    stalled, sent = threading.Event(), threading.Event()

    def send(pipe: int) -> None:
        stalled.wait(10)
        os.write(pipe, b"+")
        sent.set()

    class Layered(MemoryBackend):
        async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
            loop = asyncio.get_running_loop()
            answered = loop.create_future()
            read, write = os.pipe()
            loop.add_reader(read, lambda: answered.set_result(os.read(read, 1)))
            threading.Thread(target=send, args=(write,)).start()
            try:
                return [await asyncio.ensure_future(asyncio.shield(answered))]
            finally:
                loop.remove_reader(read)
                os.close(read)
                os.close(write)

    made = Guarded(Layered())
    for _ in range(5):
        stalled.clear()
        sent.clear()
        call = asyncio.ensure_future(made.guard.get_many(["k"]))
        await until(lambda: made.store.calls)
        stalled.set()
        sent.wait(10)
        time.sleep(0.05)  # noqa: ASYNC251 - the stall itself, past the deadline
        assert await call == [b"+"]
        made.store.calls.clear()
    assert made.seen.errors == []


async def test_a_stall_is_not_held_against_the_store(made: Guarded) -> None:
    """The time for which the loop stood still does not count, however many calls it was in the way of."""
    made.store.delay("get_many", 0.005)
    for _ in range(3):
        calls = [asyncio.ensure_future(made.guard.get_many([f"k{i}"])) for i in range(100)]
        await until(lambda: len(made.store.calls) == 100)
        time.sleep(0.1)  # noqa: ASYNC251 - the stall itself
        assert await asyncio.gather(*calls) == [[None]] * 100
        made.store.calls.clear()
    assert made.seen.errors == []


async def test_hanging_store_is_noticed_on_a_busy_loop(made: Guarded) -> None:
    """Although every deadline fires late, because the loop is always busy, the breaker opens in the end."""
    made.store.hang("get_many")
    for _ in range(20):
        if made.guard.states() == {"": "open"}:
            return
        call = asyncio.ensure_future(made.guard.get_many(["k"]))
        await until(lambda: made.store.hanging > 0)
        time.sleep(0.05)  # noqa: ASYNC251 - the stall itself
        with pytest.raises(BackendError):
            await call
    raise AssertionError("the breaker never opened")


async def test_large_values_get_more_time() -> None:
    """What is sent counts; reads are given time for the largest value seen in the last minutes."""
    made = Guarded(backend_timeout=0.02, backend_timeout_per_mib=10.0)
    made.store.hang("get_many")
    made.store.hang("set_many")
    with pytest.raises(BackendTimeout):
        await made.guard.set_many({"k": b"small"}, ttl=None)
    with pytest.raises(BackendTimeout):
        await made.guard.get_many(["k"])
    made.store.heal()
    made.store.delay("get_many", 0.1)
    made.store.delay("set_many", 0.1)
    await made.guard.set_many({"k": b"x" * 2**20}, ttl=None)
    assert await made.guard.get_many(["k", "none"]) == [b"x" * 2**20, None]
    made.clock.advance(61)
    await made.guard.get_many(["k"])
    made.store.heal()
    await made.guard.delete_many(["k"])
    for _ in range(2):
        made.clock.advance(61)
        await made.guard.get_many(["k"])
    made.store.hang("get_many")
    with pytest.raises(BackendTimeout):
        await made.guard.get_many(["k"])


@pytest.mark.parametrize("fails", [False, True])
async def test_cancelled_caller_does_not_reach_the_store(fails: bool) -> None:
    """The call goes on, and what becomes of it is the store's success or failure."""
    gate = asyncio.Event()
    entered, cancelled = [], []

    class Gated(MemoryBackend):
        async def set_many(self, items: Mapping[str, bytes], *, ttl: float | None) -> None:
            entered.append(items)
            try:
                await gate.wait()
            except asyncio.CancelledError:
                cancelled.append(items)
                raise
            if fails:
                raise BackendUnavailable("set_many", reason="reset")
            await super().set_many(items, ttl=ttl)

    made = Guarded(Gated(), backend_timeout=30)
    caller = asyncio.ensure_future(made.guard.set_many({"k": b"v"}, ttl=None))
    await until(lambda: entered)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert made.guard.under_way == 1
    gate.set()
    await until(lambda: made.guard.under_way == 0)
    assert not cancelled
    assert made.seen.calls == ["set_many"]
    assert made.seen.errors == ([("set_many", "reset")] if fails else [])
    assert await made.guard.get_many(["k"]) == [None if fails else b"v"]


async def test_cancellations_at_any_moment_leave_nothing_behind() -> None:
    """Callers cancelled at random: the others get their own answers, every call ends, no place is lost."""
    chance = random.Random(7)
    made = Guarded(backend_timeout=30, max_in_flight=8)
    made.store.delay("get_many", 0.001, probability=0.3)
    await made.store.inner.set_many({f"k{i}": b"%d" % i for i in range(50)}, ttl=None)
    for _ in range(40):
        calls = [asyncio.ensure_future(made.guard.get_many([f"k{i}"])) for i in range(50)]
        doomed = set(chance.sample(range(50), 25))
        for i in doomed:
            if chance.random() < 0.5:
                await asyncio.sleep(0)
            calls[i].cancel()
        results = await asyncio.gather(*calls, return_exceptions=True)
        for i, result in enumerate(results):
            assert result == [b"%d" % i] or (i in doomed and isinstance(result, asyncio.CancelledError))
    await until(lambda: made.guard.under_way == 0)
    assert len(asyncio.all_tasks()) == 1


async def test_cancellation_that_a_driver_invents_is_a_failure() -> None:
    """The caller was not cancelled, so it must not look as if it were."""

    class Inventive(MemoryBackend):
        async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
            raise asyncio.CancelledError

    made = Guarded(Inventive())
    with pytest.raises(BackendError) as failed:
        await made.guard.get_many(["k"])
    assert (failed.value.reason, failed.value.transient) == ("cancelled", True)
    assert made.guard.under_way == 0


async def test_bug_of_a_driver_is_a_failure_of_the_store(caplog: pytest.LogCaptureFixture) -> None:
    """It is chained, counted like any failure, and logged once without its text, which may hold a value."""
    made = Guarded()
    made.store.fail("get_many", lambda operation: ValueError("SECRET prompt"))
    for _ in range(3):
        with pytest.raises(BackendError) as failed:
            await made.guard.get_many(["k"])
        assert type(failed.value) is BackendError
        assert isinstance(failed.value.__cause__, ValueError)
        assert (failed.value.operation, failed.value.transient, failed.value.reason) == ("get_many", True, "error")
    assert made.guard.states() == {"": "open"}
    (record,) = [record for record in caplog.records if record.name == "cachecore"]
    assert record.levelno == logging.ERROR
    assert "ValueError" in record.getMessage()
    assert "faulty.py" in record.getMessage()
    assert "SECRET" not in caplog.text


async def test_answer_of_the_wrong_length_is_no_answer() -> None:
    """Values that do not line up with the keys may be those of other keys."""

    class Short(MemoryBackend):
        async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
            return [b"x"] * (len(keys) - 1)

    guard = Guard(Short(), StoreOptions(), clock=FakeClock(), chance=random.Random(1), observer=Recording())
    with pytest.raises(BackendError) as failed:
        await guard.get_many(["a", "b"])
    assert failed.value.reason == "protocol"


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_interrupts_pass(kind: type[BaseException]) -> None:
    made = Guarded()
    made.store.fail("get_many", kind)  # type: ignore[arg-type]  # no Exception, on purpose
    with pytest.raises(kind):
        asyncio.run(made.guard.get_many(["k"]))
    made.store.heal()
    assert asyncio.run(made.guard.get_many(["k"])) == [None]
