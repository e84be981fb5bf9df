"""The SQLite backend keeps the contract, in a file and in memory."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from operator import attrgetter
from pathlib import Path

import pytest

from cachecore.contract import CacheBackend
from cachecore.testing.clocks import FakeClock
from cachecore.testing.conformance import CHECKS, Check
from cachecore_sqlite import SQLiteBackend, SQLiteOptions

PATIENT = SQLiteOptions(heartbeat=0.05, timeout=20)
"""On a busy machine a lock may be held for longer than the 40 ms of the default."""


class SQLiteHarness:
    """A SQLite backend on a clock that the test advances."""

    ttl_rounding = 0.0

    def __init__(self, path: str) -> None:
        self.clock = FakeClock()
        self.backend = SQLiteBackend(path, options=PATIENT, clock=self.clock)
        self.opened = [self.backend]

    async def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    leap = advance


class FileHarness(SQLiteHarness):
    """A file shared by several backends."""

    async def another(self) -> CacheBackend:
        self.opened.append(SQLiteBackend(self.backend.path, options=PATIENT, clock=self.clock))
        return self.opened[-1]


class MemoryHarness(SQLiteHarness):
    """Memory, which belongs to one backend: `another` returns the same one."""

    async def another(self) -> CacheBackend:
        return self.backend


@pytest.fixture(params=["file", "memory"])
async def harness(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SQLiteHarness]:
    made = MemoryHarness(":memory:") if request.param == "memory" else FileHarness(str(tmp_path / "cache.db"))
    yield made
    for backend in made.opened:
        await backend.aclose()
    assert request.param == "memory" or set(os.listdir(tmp_path)) <= {"cache.db", "cache.db-reserve"}


@pytest.mark.parametrize("check", CHECKS, ids=attrgetter("__name__"))
async def test_backend_keeps_the_contract(check: Check, harness: SQLiteHarness) -> None:
    await check(harness)
