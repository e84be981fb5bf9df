"""The backend on stores of py-key-value keeps the contract within one event loop: in memory, on disk, on Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
from key_value.aio.stores.disk import DiskStore
from key_value.aio.stores.memory import MemoryStore
from key_value.aio.stores.redis import RedisStore

from cachecore.testing import servers
from cachecore.testing.clocks import FakeClock
from cachecore.testing.conformance import CHECKS, Check
from cachecore_keyvalue import PyKeyValueBackend


class KeyValueHarness:
    """A backend that judges ends by a clock that the test advances."""

    ttl_rounding = 0.0

    def __init__(self, store: Any) -> None:
        self.clock = FakeClock()
        self.backend = PyKeyValueBackend(store, clock=self.clock)

    async def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    leap = advance


@pytest.fixture(params=["memory", "disk", "redis"])
async def harness(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[KeyValueHarness]:
    store: Any
    if request.param == "memory":
        store = MemoryStore(max_entries_per_collection=100_000)
    elif request.param == "disk":
        store = DiskStore(directory=tmp_path)
    else:
        running = request.getfixturevalue("running_servers")
        name = max(servers.installed())
        if name not in running:
            running[name] = servers.Server(servers.installed()[name])
            running[name].start()
        import redis

        with redis.Redis.from_url(running[name].url) as client:
            client.flushdb()
        store = RedisStore(url=running[name].url)
    yield KeyValueHarness(store)
    if hasattr(store, "close"):
        await store.close()


@pytest.mark.parametrize("check", CHECKS, ids=attrgetter("__name__"))
async def test_backend_keeps_the_contract(check: Check, harness: KeyValueHarness) -> None:
    await check(harness)
