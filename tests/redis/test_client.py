"""The backend on the caller's own client: its commands, its settings, its life."""

from __future__ import annotations

import asyncio

import pytest
from redis import Redis as SyncRedis
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from cachecore.contract import (
    BackendError,
    BackendTimeout,
    BackendUnavailable,
    OptionsError,
    SupportsFeed,
    SupportsScan,
    SupportsTime,
)
from cachecore.testing.servers import Server
from cachecore_redis import ClientBackend, RedisBackend
from tests.redis.waiting import until_it_works


async def test_client_stays_the_callers(redis_url: str) -> None:
    """Closing the backend closes nothing of the client."""
    async with Redis.from_url(redis_url) as client:
        backend = RedisBackend.from_client(client)
        await backend.set_many({"k": b"v"}, ttl=60)
        await backend.aclose()
        with pytest.raises(BackendUnavailable):
            await backend.get_many(["k"])
        assert await client.get("k") == b"v"


async def test_what_it_can_do(redis_url: str) -> None:
    """It scans and tells the time; it has no feed, and so does not say that it had one."""
    async with Redis.from_url(redis_url) as client:
        backend = ClientBackend(client)
        assert isinstance(backend, SupportsScan)
        assert isinstance(backend, SupportsTime)
        assert not isinstance(backend, SupportsFeed)


async def test_clients_that_cannot_be_used() -> None:
    """A client that decodes, and a cluster's, are refused when the backend is built."""
    async with Redis(decode_responses=True) as client:
        with pytest.raises(OptionsError, match="decode"):
            RedisBackend.from_client(client)
    for blocking in (SyncRedis(), SyncRedis.from_url("redis://127.0.0.1:1")):
        with pytest.raises(OptionsError, match=r"not the blocking redis\.client\.Redis.* give a redis\.asyncio\.Redis"):
            RedisBackend.from_client(blocking)  # type: ignore[arg-type] # the mistake
    with pytest.raises(OptionsError, match="cluster"):
        RedisBackend.from_client(RedisCluster(host="127.0.0.1", port=1))  # type: ignore[arg-type] # the mistake


async def test_errors_of_the_driver_are_translated(any_server: Server) -> None:
    """What redis-py raises leaves as BackendError with the same reasons as on our own connections."""
    retry = Retry(NoBackoff(), 0)
    async with Redis(port=any_server.port, retry=retry, socket_timeout=2, max_connections=1) as client:
        backend = RedisBackend.from_client(client)
        await backend.set_many({"k": b"v"}, ttl=60)
        outcomes = await asyncio.gather(*(backend.get_many(["k"]) for _ in range(5)), return_exceptions=True)
        reasons = {outcome.reason for outcome in outcomes if isinstance(outcome, BackendError)}
        assert reasons == {"max_clients"}
        with any_server.paused(), pytest.raises(BackendTimeout):
            await backend.get_many(["k"])
        await until_it_works(lambda: backend.get_many(["k"]))
        await client.rpush("list", "x")
        assert not await backend.swap("list", b"old", b"new", ttl=60)
        assert await backend.get_many(["list"]) == [None]
        any_server.kill()
        with pytest.raises(BackendUnavailable) as unreached:
            await backend.get_many(["k"])
            await backend.get_many(["k"])
        assert unreached.value.reason in ("refused", "reset")
        assert unreached.value.transient
