"""The Postgres backend keeps the contract: straight, over TLS, through a pooler, in a table that is logged."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from operator import attrgetter

import pytest

from cachecore.contract import CacheBackend
from cachecore.testing.conformance import CHECKS, Check
from cachecore_postgres import PostgresBackend
from tests.postgres.conftest import postgres, postgres_url  # noqa: F401 - fixtures


class PostgresHarness:
    """A backend on a real server, whose clock only time itself moves."""

    ttl_rounding = 0.0

    def __init__(self, url: str) -> None:
        self.url = url
        self.backend = PostgresBackend(url)
        self.opened = [self.backend]

    async def advance(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def another(self) -> CacheBackend:
        self.opened.append(PostgresBackend(self.url))
        return self.opened[-1]


@pytest.fixture
async def harness(postgres_url: str) -> AsyncIterator[PostgresHarness]:  # noqa: F811 - the fixture
    made = PostgresHarness(postgres_url + "?heartbeat=50ms")
    yield made
    for backend in made.opened:
        await backend.aclose()


@pytest.mark.parametrize("check", CHECKS, ids=attrgetter("__name__"))
async def test_backend_keeps_the_contract(check: Check, harness: PostgresHarness) -> None:
    await check(harness)
