"""A faulty backend without faults is a backend."""

from __future__ import annotations

from operator import attrgetter

import pytest

from cachecore.store.memory_backend import MemoryBackend
from cachecore.testing.clocks import FakeClock
from cachecore.testing.conformance import CHECKS, Check
from cachecore.testing.faulty import FaultyBackend


class FaultyHarness:
    """A memory backend that is told no fault, on a clock that is moved by hand."""

    ttl_rounding = 0.0

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.backend = FaultyBackend(MemoryBackend(clock=self.clock))

    async def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)


@pytest.mark.parametrize("check", CHECKS, ids=attrgetter("__name__"))
async def test_faulty_backend_without_faults_keeps_the_contract(check: Check) -> None:
    await check(FaultyHarness())
