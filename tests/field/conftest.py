"""The stores of the field tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from cachecore import Cache
from cachecore.testing import servers

Opened = Callable[..., Awaitable[Cache[Any]]]
SERVER = max(servers.installed())


@pytest.fixture(params=["memory", "sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty store."""
    if request.param == "memory":
        return "memory://"
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/answers.db"
    running: dict[str, servers.Server] = request.getfixturevalue("running_servers")
    if SERVER not in running:
        running[SERVER] = servers.Server(servers.installed()[SERVER])
        running[SERVER].start()
    import redis

    with redis.Redis.from_url(running[SERVER].url) as client:
        client.flushdb()
    return running[SERVER].url


@pytest.fixture
async def opened(url: str) -> AsyncIterator[Opened]:
    """Opens caches on the store, with deadlines that a busy machine keeps, and waits until all of it works.

    They are closed after the test.
    """
    caches: list[Cache[Any]] = []

    loop = asyncio.get_running_loop()
    limit = loop.time() + 60

    async def open_cache(**options: Any) -> Cache[Any]:
        made: Cache[Any] = Cache(url, **{"ttl": 60, "backend_timeout": 20, "connect_timeout": 20, **options})
        caches.append(made)
        await made.get("the first read begins to listen to the store")
        while (health := await made.health())["store"] != "ok" or health["feed"] == "down":
            await asyncio.sleep(0.005)
            assert loop.time() < limit, health
        return made

    yield open_cache
    for cache in caches:
        await cache.aclose()
