"""How long a call waits for its connection, and what a new connection changes."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from cachecore.contract.errors import BackendUnavailable
from cachecore.contract.options import StoreOptions
from cachecore.contract.protocols import Link
from cachecore.store.guard import Guard
from cachecore.store.memory_backend import MemoryBackend
from cachecore.testing.virtual import VirtualClock
from tests.unit.store.timed import Timed


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
    """The store was never asked, so its answer was not late. The breaker opens, so that no other call waits as well."""
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
