"""Loops that end while connections are being made: `asyncio.run` reports no error, at whichever turn it comes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cachecore import Cache
from cachecore.testing.servers import Server

TURNS = 60
"""Turns of the loop within which a connection to loopback has been made, tracking turned on and the clock read."""


async def slow() -> str:
    await asyncio.Event().wait()
    return "never"


@pytest.mark.parametrize("login", ["", "guest:wrong@"])
def test_loop_that_ends_while_it_connects_reports_nothing(
    any_server: Server, login: str, caplog: pytest.LogCaptureFixture
) -> None:
    url = any_server.url.replace("redis://", f"redis://{login}")
    caches: list[Cache[Any]] = []

    async def main(turns: int) -> None:
        cache: Cache[Any] = Cache(url, ttl=60)
        caches.append(cache)
        asking = [asyncio.create_task(cache.get_or_set(number, slow)) for number in range(2)]
        for _ in range(turns):
            await asyncio.sleep(0)
        assert not any(task.done() for task in asking)

    for turns in range(TURNS):
        asyncio.run(main(turns))
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []
