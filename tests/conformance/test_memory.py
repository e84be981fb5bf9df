"""The in-memory backend keeps the contract."""

from __future__ import annotations

from operator import attrgetter

import pytest

from cachecore.store.memory_backend import MemoryBackend
from cachecore.testing.clocks import FakeClock
from cachecore.testing.conformance import CHECKS, Check


class MemoryHarness:
    """A memory backend on a clock that is moved by hand."""

    ttl_rounding = 0.0

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.backend = MemoryBackend(clock=self.clock)

    async def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    leap = advance


@pytest.mark.parametrize("check", CHECKS, ids=attrgetter("__name__"))
async def test_backend_keeps_the_contract(check: Check) -> None:
    await check(MemoryHarness())
