"""A backend for the length of a block, and how often it connects."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from cachecore.testing.servers import Server
from cachecore_redis import RedisBackend
from cachecore_redis.wire.address import UrlDialer
from cachecore_redis.wire.commands import pack


@asynccontextmanager
async def opened(url: str, **settings: Any) -> AsyncIterator[RedisBackend]:
    backend = RedisBackend(url, **settings)
    try:
        yield backend
    finally:
        await backend.aclose()


async def connections(server: Server) -> int:
    """How many clients the server has, the one that asks included."""
    async with opened(server.url) as backend:
        node = backend._nodes.get("test")
        return len((await node.ask("test", pack(("CLIENT", "LIST")))).splitlines())


class CountingDialer(UrlDialer):
    """Counts the connections that it makes."""

    made = 0

    async def driver_connection(self) -> Any:
        self.made += 1
        return await super().driver_connection()


@contextmanager
def counted(backend: RedisBackend) -> Iterator[CountingDialer]:
    """Count the connections to come, by a change of the dialer's class: guards how often a server is connected to."""
    dialer = backend._dialer
    dialer.__class__ = CountingDialer
    assert isinstance(dialer, CountingDialer)
    yield dialer
