"""S10: the machine sleeps, and its answers are as old as the world's when it wakes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from cachecore import Cache
from tests.conftest import Record
from tests.faults.callers import PATIENT, sizes

HOURS = 3600.0


class Laptop:
    """The clocks of a machine of which one stands still while it sleeps."""

    slept = 0.0

    def monotonic(self) -> float:
        return time.monotonic()

    def time(self) -> float:
        return time.time() + self.slept


_expired: dict[str, int] = {}


@sizes(10, 100)
@pytest.mark.parametrize("store", ["memory", "sqlite"])
async def test_s10_eight_hours_asleep(store: str, size: int, tmp_path: Path, record: Record) -> None:
    """Answers of an hour are misses from the first call after waking; those of a day are hits."""
    laptop = Laptop()
    url = "memory://" if store == "memory" else f"sqlite:///{tmp_path / 'cache.db'}"
    expired = 0
    async with Cache[Any](url, ttl=HOURS, clock=laptop, l1_max_age=60, **PATIENT) as cache:
        for number in range(size):
            await cache.set(number, "of an hour")
            await cache.set(f"day {number}", "of a day", ttl=24 * HOURS)
            assert await cache.get(number) == "of an hour"
        laptop.slept = 8 * HOURS
        for number in range(size):
            expired += await cache.get(number) is None
            assert await cache.get(f"day {number}") == "of a day"
    _expired[store] = expired
    record(
        "S10",
        f"{sum(_expired.values())} expired",
        met=expired == size,
        size=f"100 answers each in {', '.join(_expired)}",
    )
    assert expired == size
