"""The Redis backend keeps the contract, on every kind of server this machine has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from operator import attrgetter

import pytest
from redis.asyncio import Redis

from cachecore.protocols import CacheBackend
from cachecore.testing.conformance import CHECKS, Check
from cachecore_redis import RedisBackend


class RedisHarness:
    """A backend on a real server, whose clock only time itself moves."""

    ttl_rounding = 0.0

    def __init__(self, backend: CacheBackend) -> None:
        self.backend = backend

    async def advance(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@asynccontextmanager
async def opened(backend: CacheBackend) -> AsyncIterator[RedisHarness]:
    try:
        yield RedisHarness(backend)
    finally:
        await backend.aclose()


@pytest.mark.parametrize("check", CHECKS, ids=attrgetter("__name__"))
async def test_backend_keeps_the_contract(check: Check, redis_url: str) -> None:
    async with opened(RedisBackend(redis_url)) as harness:
        await check(harness)


@pytest.mark.parametrize("check", CHECKS, ids=attrgetter("__name__"))
async def test_backend_on_the_callers_client_keeps_the_contract(check: Check, redis_url: str) -> None:
    async with Redis.from_url(redis_url) as client, opened(RedisBackend.from_client(client)) as harness:
        await check(harness)
