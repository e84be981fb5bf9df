"""The simulated store without faults is a store: it keeps the contract of every backend."""

from __future__ import annotations

import asyncio
import random
from operator import attrgetter

import pytest

from cachecore.contract.clock import Clock, SystemClock
from cachecore.contract.protocols import CacheBackend
from cachecore.testing.conformance import CHECKS, Check
from cachecore.testing.simulation.network import FedBackend, Link
from cachecore.testing.simulation.store import SimulatedStore
from cachecore.testing.virtual import VirtualClock


class SimulatedHarness:
    """A simulated store on a loop whose time is that of `clock`."""

    ttl_rounding = 0.0

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock) -> None:
        self._clock = clock
        self._store = SimulatedStore(loop, lambda *what: None)
        self._others: list[FedBackend] = []
        self.backend: CacheBackend = self._connected("one")

    def _connected(self, name: str) -> FedBackend:
        backend = FedBackend(self._store, Link(random.Random(name)), name, self._clock)
        self._others.append(backend)
        return backend

    async def advance(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def another(self) -> CacheBackend:
        return self._connected(f"another {len(self._others)}")

    async def aclose(self) -> None:
        for backend in self._others:
            await backend.aclose()


@pytest.mark.parametrize("check", CHECKS, ids=attrgetter("__name__"))
def test_simulated_store_keeps_the_contract(check: Check) -> None:
    async def run(clock: Clock) -> None:
        harness = SimulatedHarness(asyncio.get_running_loop(), clock)
        await check(harness)
        await harness.aclose()

    if "feed" in check.__name__:  # they look at the machine's own clock
        asyncio.run(run(SystemClock()))
    else:
        virtual = VirtualClock()
        virtual.run(run(virtual))
