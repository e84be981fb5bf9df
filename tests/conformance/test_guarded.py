"""A guarded backend is a backend, with the abilities of the one it guards."""

from __future__ import annotations

import random
from collections.abc import Callable
from operator import attrgetter

import pytest

from cachecore.contract.clock import SystemClock
from cachecore.contract.options import StoreOptions
from cachecore.contract.protocols import CacheBackend, SupportsFeed, SupportsPartitions, SupportsScan, SupportsTime
from cachecore.store.guard import Guard
from cachecore.store.memory_backend import MemoryBackend
from cachecore.testing.clocks import FakeClock
from cachecore.testing.conformance import CHECKS, Check


class Unobserved:
    """An observer that looks away."""

    def recorder(self, operation: str) -> Callable[[float], object]:
        return float

    def backend_error(self, operation: str, reason: str) -> None:
        pass

    def breaker_state(self, partition: str, state: str) -> None:
        pass


class Halves(MemoryBackend):
    """A store whose keys lie on two nodes."""

    def partition(self, key: str) -> str:
        return "even" if sum(key.encode()) % 2 == 0 else "odd"


class GuardedHarness:
    """A guarded memory backend on a clock that is moved by hand."""

    ttl_rounding = 0.0

    def __init__(self, kind: type[MemoryBackend]) -> None:
        self.clock = FakeClock()
        # A deadline that no slow machine misses: what is checked here are answers.
        options = StoreOptions(backend_timeout=30)
        self.backend = Guard(
            kind(clock=self.clock),
            options,
            clock=SystemClock(),
            chance=random.Random(1),
            observer=Unobserved(),
        )

    async def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)


@pytest.mark.parametrize("kind", [MemoryBackend, Halves])
@pytest.mark.parametrize("check", CHECKS, ids=attrgetter("__name__"))
async def test_guarded_backend_keeps_the_contract(check: Check, kind: type[MemoryBackend]) -> None:
    await check(GuardedHarness(kind))


def test_guard_has_the_abilities_of_its_backend_and_no_others() -> None:
    """What isinstance says of a backend it says of the guard around it."""

    class Plain:
        def __init__(self) -> None:
            inner = MemoryBackend()
            self.get_many, self.set_many, self.delete_many = inner.get_many, inner.set_many, inner.delete_many
            self.swap, self.aclose = inner.swap, inner.aclose

    for backend in (Plain(), MemoryBackend(), Halves()):
        guard = Guard(backend, StoreOptions(), clock=SystemClock(), chance=random.Random(1), observer=Unobserved())
        assert isinstance(guard, CacheBackend)
        for ability in (SupportsScan, SupportsTime, SupportsFeed, SupportsPartitions):
            assert isinstance(guard, ability) == isinstance(backend, ability)
