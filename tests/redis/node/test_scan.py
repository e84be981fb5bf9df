"""Listing the keys of one server while its connection is lost: complete, or an error."""

from __future__ import annotations

import asyncio

import pytest

from cachecore.contract import BackendError
from cachecore.testing.groups import SERVICE, SentinelGroup, ask
from cachecore.testing.servers import Server
from cachecore_redis import RedisBackend, from_url
from tests.redis.conftest import SERVERS
from tests.redis.opening import opened
from tests.redis.waiting import until, until_it_works

PROGRAM = SERVERS[max(SERVERS)]


async def season(backend: RedisBackend) -> None:
    """Let the connection answer so often that its loss does not count against the server."""
    for _ in range(10):
        await backend.get_many(["other"])


async def test_scan_of_a_server_that_restarted() -> None:
    """Another process takes a cursor for another place: the listing begins again, and misses nothing."""
    keys = {f"p:{i}" for i in range(10_000)}
    with Server(PROGRAM, ["--appendonly", "yes", "--appendfsync", "always"]) as server:
        async with opened(server.url, timeout=3) as backend:
            await backend.set_many(dict.fromkeys(keys, b"v"), ttl=600)
            seen: set[str] = set()
            pages = 0
            async for page in backend.scan("p:"):
                seen.update(page)
                pages += 1
                if pages == 25:
                    await season(backend)
                    server.kill()
                    server.start()
                    await until(lambda: asyncio.to_thread(lambda: ask(server, "DBSIZE") == len(keys)))  # loaded
            assert seen == keys


async def test_scan_through_a_failover_of_sentinels() -> None:
    """The primary becomes another between two pages: the new one is listed from the beginning."""
    keys = {f"p:{i}" for i in range(10_000)}
    with SentinelGroup(PROGRAM, down_after_ms=400) as group:
        backend = from_url(group.url)
        await backend.set_many(dict.fromkeys(keys, b"v"), ttl=600)
        replica, old = group.nodes[1], group.primary()
        await until(lambda: asyncio.to_thread(lambda: ask(replica, "DBSIZE") == len(keys)))
        seen: set[str] = set()
        pages = 0

        def ordered() -> bool:
            return bool(ask(group.sentinels[0], "SENTINEL", "FAILOVER", SERVICE) == "OK")

        async for page in backend.scan("p:"):
            seen.update(page)
            pages += 1
            if pages == 25:
                await until(lambda: asyncio.to_thread(ordered), within=20)
                await until(lambda: asyncio.to_thread(lambda: group.primary() is not old), within=30)
                await until_it_works(lambda: backend.set_many({"other": b"v"}, ttl=60))
        assert seen == keys
        await backend.aclose()


async def test_scan_that_is_cut_off_again_and_again(any_server: Server) -> None:
    """A listing that never comes to its end fails: who asked must not take it for complete."""
    async with opened(any_server.url) as backend:
        await backend.set_many({f"p:{i}": b"v" for i in range(2000)}, ttl=600)
        connection, begun = None, 0
        with pytest.raises(BackendError) as failed:
            async for _ in backend.scan("p:"):
                begun += backend._nodes.get("test").main.current is not connection
                await season(backend)
                connection = backend._nodes.get("test").main.current
                assert connection is not None
                connection.close()
        assert begun > 1
        assert (failed.value.reason, failed.value.transient) == ("reset", True)
