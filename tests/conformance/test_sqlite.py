"""The SQLite backend keeps the contract, in a file and in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from operator import attrgetter
from pathlib import Path

import pytest

from cachecore.testing.clocks import FakeClock
from cachecore.testing.conformance import CHECKS, Check
from cachecore_sqlite import SQLiteBackend


class SQLiteHarness:
    """A SQLite backend on a clock that is moved by hand."""

    ttl_rounding = 0.0

    def __init__(self, path: str) -> None:
        self.clock = FakeClock()
        self.backend = SQLiteBackend(path, clock=self.clock)

    async def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)


@pytest.fixture(params=["file", "memory"])
async def harness(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SQLiteHarness]:
    made = SQLiteHarness(":memory:" if request.param == "memory" else str(tmp_path / "cache.db"))
    yield made
    await made.backend.aclose()


@pytest.mark.parametrize("check", CHECKS, ids=attrgetter("__name__"))
async def test_backend_keeps_the_contract(check: Check, harness: SQLiteHarness) -> None:
    await check(harness)
