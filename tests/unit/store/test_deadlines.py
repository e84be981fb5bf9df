"""How long a call waits: five round trips, a connection, an explicit call; and a process that is busy itself."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import pytest

from cachecore.contract.errors import BackendError, BackendTimeout, BackendUnavailable
from cachecore.contract.options import StoreOptions
from cachecore.contract.protocols import CacheBackend, Link
from cachecore.store.guard import Guard
from cachecore.store.memory_backend import MemoryBackend
from cachecore.store.round_trip import RoundTrip
from cachecore.testing.faulty import FaultyBackend
from cachecore.testing.virtual import VirtualClock
from tests.unit.store.guarded import Recording

Ask = Callable[[], Awaitable[Any]]


class Timed:
    """A guard in virtual time, and how long its calls take."""

    def __init__(self, backend: CacheBackend | None = None, **options: Any) -> None:
        self.clock = VirtualClock()
        self.store = FaultyBackend(MemoryBackend(clock=self.clock))
        self.seen = Recording()
        self.guard = Guard(
            backend or self.store,
            StoreOptions(**options),
            clock=self.clock,
            chance=random.Random(1),
            observer=self.seen,
        )

    def run(self, main: Awaitable[None]) -> None:
        async def whole() -> None:
            await main
            self.store.heal()

        self.clock.run(whole())

    async def seconds(self, ask: Ask, error: str | None = None) -> float:
        """Return the seconds that a call takes, which fails for the reason `error` if one is given."""
        began = self.clock.monotonic()
        if error is None:
            await ask()
        else:
            with pytest.raises(BackendError) as failed:
                await ask()
            assert failed.value.reason == error
        return self.clock.monotonic() - began

    async def read(self, error: str | None = None) -> float:
        return await self.seconds(lambda: self.guard.get_many(["k"]), error)

    async def write(self, error: str | None = None) -> float:
        return await self.seconds(lambda: self.guard.explicit.set_many({"k": b"v"}, ttl=None), error)


class Linked(MemoryBackend):
    """A store that has to be connected to: that takes `seconds`, then each answer `trip`."""

    def __init__(self, clock: VirtualClock, seconds: float, trip: float = 0.001) -> None:
        super().__init__(clock=clock)
        self.seconds, self.trip = seconds, trip
        self.address = "here"
        self.limits: dict[str, float] = {}
        self.hopeful = True
        self._opening: asyncio.Task[None] | None = None
        self._since: float | None = None
        self._clock_of = clock

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        await self._reached()
        return await super().get_many(keys)

    async def set_many(self, items: Mapping[str, bytes], *, ttl: float | None) -> None:
        await self._reached()
        await super().set_many(items, ttl=ttl)

    async def _reached(self) -> None:
        if self._since is None:
            self._opening = self._opening or asyncio.ensure_future(self._connect())
            await asyncio.shield(self._opening)
        await asyncio.sleep(self.trip)

    async def _connect(self) -> None:
        await asyncio.sleep(self.seconds)
        self._since = self._clock_of.monotonic()

    def link(self, key: str) -> Link | None:
        if self._since is not None:
            return Link(self.address, self._since)
        return None if self.hopeful else Link("", -math.inf)

    def limit_waits(self, *, connect: float, silence: float) -> None:
        self.limits = {"connect": connect, "silence": silence}


def linked(seconds: float, trip: float = 0.001, **options: Any) -> tuple[Timed, Linked]:
    made = Timed(**options)
    store = Linked(made.clock, seconds, trip)
    made.guard = Guard(store, StoreOptions(**options), clock=made.clock, chance=random.Random(1), observer=made.seen)
    return made, store


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


class Second(Linked):
    """A store that opens another connection for each call, since the ones before it are stuck."""

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        await self._connect()
        if self.trip == math.inf:
            await asyncio.Event().wait()
        return await MemoryBackend.get_many(self, keys)


def test_a_connection_that_is_opened_beside_others_gives_back_its_own_time_alone() -> None:
    """Not a second deadline: a table that another session has locked costs one, whichever connection waits for it."""
    made = Timed()
    store = Second(made.clock, 0.008)
    made.guard = Guard(store, StoreOptions(), clock=made.clock, chance=random.Random(1), observer=made.seen)

    async def main() -> None:
        await made.read()
        store.trip = math.inf
        assert 0.057 < await made.read("timeout") < 0.06

    made.run(main())


class Unequal(Linked):
    """A store that answers late for some of its keys."""

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        values = await super().get_many(keys)
        if "late" in keys:
            await asyncio.sleep(0.07)
        return values


def test_calls_that_wait_for_the_first_connection_have_their_time_after_it() -> None:
    """Also where one of them was answered: a process that begins with many calls has them all waiting."""
    made = Timed()
    store = Unequal(made.clock, 0.02)
    made.guard = Guard(store, StoreOptions(), clock=made.clock, chance=random.Random(1), observer=made.seen)

    async def main() -> None:
        await asyncio.gather(made.guard.get_many(["soon"]), made.guard.get_many(["late"]))
        await made.seconds(lambda: made.guard.get_many(["late"]), "timeout")

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


@pytest.mark.parametrize("reason", ["refused", "dns", "connect_timeout", "auth", "max_clients", "tls"])
def test_store_that_cannot_be_reached_refuses_all_at_once(reason: str) -> None:
    """One attempt is enough to know, and an explicit call could only make the same."""
    made = Timed()

    async def main() -> None:
        made.store.fail(None, lambda operation: BackendUnavailable(operation, reason=reason))
        await made.read(reason)
        assert await made.read("breaker_open") == 0
        assert await made.write("breaker_open") == 0

    made.run(main())


def test_call_waits_for_its_connection_then_for_its_answer() -> None:
    """A command-line tool gets its hit: connecting is no late answer. The limits reach the backend."""
    made, store = linked(0.9, trip=0.08, connect_timeout=1.5, write_timeout=2)

    async def main() -> None:
        assert 0.97 < await made.read() < 1.0
        assert made.seen.errors == []
        assert store.limits == {"connect": 1.5, "silence": 2.0}

    made.run(main())


def test_call_waits_no_longer_than_connect_timeout() -> None:
    made, _ = linked(60, connect_timeout=0.3)

    async def main() -> None:
        assert 0.29 < await made.read("connect_timeout") < 0.33
        assert await made.read("breaker_open") == 0

    made.run(main())


def test_explicit_call_that_ends_while_connecting_says_so() -> None:
    """The store was not slow to answer: it was never asked. Nobody else waits for the same attempt."""
    made, _ = linked(60, connect_timeout=30, write_timeout=2)

    async def main() -> None:
        assert 1.99 < await made.write("connect_timeout") < 2.01
        assert await made.read("breaker_open") == 0

    made.run(main())


def test_no_call_waits_for_a_connection_after_a_failed_attempt() -> None:
    made, store = linked(60)
    store.hopeful = False

    async def main() -> None:
        assert 0.049 < await made.read("timeout") < 0.06

    made.run(main())


def test_another_address_is_measured_anew() -> None:
    """A primary in another region, to which a service has failed over, is of use as the first one was."""
    made, store = linked(0.01)

    async def main() -> None:
        assert await made.read() < 0.02
        store.trip, store.address = 0.08, "far away"
        store._since = store._opening = None
        assert await made.read() < 0.2
        assert await made.read() < 0.1
        assert made.seen.errors == []

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
