"""How long a call waits: five round trips, an explicit call; and a process that is busy itself."""

from __future__ import annotations

import asyncio
import math
import random

import pytest

from cachecore.contract.errors import BackendTimeout
from cachecore.contract.options import StoreOptions
from cachecore.store.guard import Guard
from cachecore.store.round_trip import RoundTrip
from tests.unit.store.timed import Timed


def test_smallest_round_trip_of_ten_minutes_counts() -> None:
    """A slow phase never raises it; a store that has moved away is known to have after ten minutes."""
    trip = RoundTrip()
    assert trip.seconds == math.inf
    trip.measured(0.08, 0.0)
    trip.measured(0.001, 1.0)
    for second in range(2, 590):
        trip.measured(0.3, float(second))
        assert trip.seconds == 0.001
    for second in range(590, 700):
        trip.measured(0.3, float(second))
    assert trip.seconds == 0.3


@pytest.mark.parametrize(("trip", "patience"), [(0.001, 0.05), (0.02, 0.1), (0.08, 0.4), (0.3, 0.5)])
def test_read_waits_five_round_trips(trip: float, patience: float) -> None:
    """But 50 ms at least, and 500 ms at most."""
    made = Timed()

    async def main() -> None:
        made.store.delay("get_many", trip)
        await made.read()
        made.store.hang("get_many")
        assert patience - 0.001 <= await made.read("timeout") <= patience + 0.01

    made.run(main())


def test_first_answer_may_take_half_a_second() -> None:
    """The distance of a store is not known before; one that does not answer then is not waited for so long again."""
    made = Timed()

    async def main() -> None:
        made.store.hang("get_many")
        assert 0.499 < await made.read("timeout") < 0.51
        assert 0.049 < await made.read("timeout") < 0.06

    made.run(main())


def test_large_answers_say_nothing_of_the_round_trip() -> None:
    made = Timed(backend_timeout_per_mib=0)

    # What was written is the fastest of all, so the guard that reads is another one.
    async def main() -> None:
        await made.guard.explicit.set_many({"k": b"x" * 10_000, "small": b"x"}, ttl=None)
        made.guard = Guard(
            made.store,
            StoreOptions(backend_timeout_per_mib=0),
            clock=made.clock,
            chance=random.Random(1),
            observer=made.seen,
        )
        made.store.delay("get_many", 0.05)
        await made.guard.get_many(["small"])
        made.store.heal()
        made.store.delay("get_many", 0.02)
        await made.read()
        made.store.heal()
        made.store.hang("get_many")
        assert 0.249 < await made.read("timeout") < 0.26

    made.run(main())


def test_explicit_call_waits_for_write_timeout() -> None:
    made = Timed(write_timeout=0.7)

    async def main() -> None:
        await made.read()
        made.store.hang()
        assert 0.69 < await made.write("timeout") < 0.71

    made.run(main())


def test_late_answers_refuse_reads_and_not_explicit_calls() -> None:
    """A read does not wait so long, which opened the breaker. An explicit call does; its success says nothing."""
    made = Timed()

    async def main() -> None:
        await made.read()
        made.store.delay(None, 0.3)
        for _ in range(3):
            await made.read("timeout")
        for _ in range(20):
            assert await made.read("breaker_open") == 0
            assert 0.299 < await made.write() < 0.31
        assert made.guard.states() == {"": "open"} or made.guard.states() == {"": "half_open"}

    made.run(main())


def test_probe_that_is_as_late_as_the_reads_does_not_close_the_breaker() -> None:
    made = Timed()

    async def main() -> None:
        await made.read()
        made.store.delay(None, 0.3)
        for _ in range(3):
            await made.read("timeout")
        for _ in range(50):
            await asyncio.sleep(0.05)
            assert await made.read("breaker_open") == 0
        made.store.heal()
        while made.guard.states() != {"": "closed"}:
            await made.read("breaker_open")
            await asyncio.sleep(0.05)
        assert await made.read() < 0.01

    made.run(main())


def test_time_in_which_the_loop_stood_still_does_not_count() -> None:
    """However long it stood, and however often: the store had no chance to be heard."""
    made = Timed()

    async def main() -> None:
        await made.read()
        made.store.delay("get_many", 0.03)
        for _ in range(5):
            calls = [asyncio.ensure_future(made.guard.get_many([f"k{i}"])) for i in range(300)]
            for _ in range(3):
                await asyncio.sleep(0.004)
                made.clock.loop.stall(0.4)
            await asyncio.gather(*calls)
        assert made.seen.errors == []

    made.run(main())


def test_work_of_many_calls_ends_at_its_deadline() -> None:
    """`within` bounds the whole of it; what is blocked by this process is not counted; it may be entered again."""
    made = Timed(write_timeout=1)

    async def main() -> None:
        async def work() -> None:
            within = made.guard.explicit.within("set")
            for _ in range(4):
                async with within:
                    await asyncio.sleep(0.3)

        assert 0.99 < await made.seconds(work, "timeout") < 1.02

        async def quick() -> None:
            async with made.guard.explicit.within("set"):
                for _ in range(3):
                    await asyncio.sleep(0.2)
                    made.clock.loop.stall(2)

        assert await made.seconds(quick) > 6
        await asyncio.sleep(5)  # a lifted deadline ends nothing

    made.run(main())


def test_cancellation_from_outside_stays_a_cancellation() -> None:
    made = Timed(write_timeout=1)

    async def main() -> None:
        async def work() -> None:
            async with made.guard.explicit.within("set"):
                await asyncio.sleep(60)

        task = asyncio.ensure_future(work())
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    made.run(main())


def test_explicit_call_waits_for_a_lock_of_another_process() -> None:
    """A store that is locked says so soon; it is asked again until the deadline, and reads are not."""
    made = Timed(breaker_failures=1000)

    async def main() -> None:
        await made.read()
        made.store.fail(None, lambda operation: BackendTimeout(operation, reason="locked"), times=20)
        await made.read("locked")
        assert 0.09 < await made.write() < 0.2
        made.store.fail("set_many", lambda operation: BackendTimeout(operation, reason="locked"))
        assert 0.9 < await made.write("locked") < 1.1

    made.run(main())
