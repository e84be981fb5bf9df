"""One call for all callers of a key holds in processes that have just begun, on a machine that is busy."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from cachecore.testing.servers import Server
from tests.conftest import Record
from tests.faults.callers import sizes
from tests.faults.test_guard_deadlines import busy
from tests.integration.children import children

FACES = ("Cache", "SyncCache")


async def stampede(face: str, url: str, name: str, *, warm: bool) -> int:
    """Return how many calls 200 callers in 4 processes have cost."""
    arguments = (face, url, "50", "0.3", "warm" if warm else "cold", name)
    async with children(4, "tests.faults.cold_asker", *arguments) as processes:
        for child in processes:
            await child.until("ready")
        for child in processes:
            child.go()
        results = await asyncio.gather(*(child.result() for child in processes))
    assert [result["answers"] for result in results] == [["answer"]] * 4
    return sum(result["calls"] for result in results)


@pytest.mark.parametrize("store", ["redis", "sqlite"])
@sizes(2, 40)
async def test_l8_cold_stampede(size: int, store: str, tmp_path: Path, any_server: Server, record: Record) -> None:
    """The claim of a key is not given up because a live store was late once: its file was being made, or locked."""
    several = 0
    with busy(2):
        for number in range(size):
            url = any_server.url if store == "redis" else f"sqlite:///{tmp_path}/{number}.db"
            several += await stampede(FACES[number % 2], url, str(number), warm=number % 4 >= 2) > 1
    text = f"{store}: {size - several} of {size} rounds"
    record(f"L8 {store}", text, met=not several, size=f"{size} × 4 processes × 50 callers")
    assert not several
