"""The Postgres backend keeps the contract: straight, in a logged table of another schema over TLS, through a pooler.

The server is real. Its clock is moved by functions of the database that stand before the built-in ones: the suite waits
for nothing. `tests/postgres` lets some real time pass.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from operator import attrgetter

import psycopg
import pytest

from cachecore.contract import CacheBackend
from cachecore.testing.conformance import CHECKS, Check
from cachecore_postgres import PostgresBackend
from tests.postgres.conftest import postgres  # noqa: F401 - a fixture
from tests.postgres.server import Bouncer, Server, program

WAYS = ["straight", "other schema, logged, TLS", "pgbouncer"]


class PostgresHarness:
    """A backend on a real server with a clock that the test moves."""

    ttl_rounding = 0.0
    has_feed = True

    def __init__(self, url: str, server: Server) -> None:
        self.url = url
        self.backend = PostgresBackend(url)
        self.opened = [self.backend]
        self._control = psycopg.connect(server.url("moved"), autocommit=True)
        self._control.execute("UPDATE moved.clock SET ahead = '0'")
        self._control.execute("DROP TABLE IF EXISTS moved.cachecore")
        self._control.execute('DROP SCHEMA IF EXISTS "o""ther%s" CASCADE')
        self._control.execute('CREATE SCHEMA "o""ther%s"')

    async def advance(self, seconds: float) -> None:
        await asyncio.to_thread(
            self._control.execute, "UPDATE moved.clock SET ahead = ahead + make_interval(secs => %s)", (seconds,)
        )

    async def another(self) -> CacheBackend:
        self.opened.append(PostgresBackend(self.url))
        return self.opened[-1]

    async def aclose(self) -> None:
        for backend in self.opened:
            await backend.aclose()
        self._control.close()


@pytest.fixture(scope="module")
def bouncer(postgres: Server) -> Iterator[Bouncer]:  # noqa: F811 - the fixture
    if program("pgbouncer") is None:
        pytest.skip("pgbouncer is not installed")
    with Bouncer(postgres) as running:
        yield running


@pytest.fixture(params=WAYS)
async def harness(request: pytest.FixtureRequest, postgres: Server) -> AsyncIterator[PostgresHarness]:  # noqa: F811
    if request.param == "pgbouncer":
        url = request.getfixturevalue("bouncer").url("moved")
    elif request.param == "straight":
        url = postgres.url("moved", "heartbeat=50ms")
    else:
        query = f"schema=o%22ther%25s&table=t%27%25%22LIVE_&durability=logged&{postgres.verified}&heartbeat=50ms"
        url = postgres.url("moved", query)
    made = PostgresHarness(url, postgres)
    made.has_feed = request.param != "pgbouncer"
    yield made
    await made.aclose()


@pytest.mark.parametrize("check", CHECKS, ids=attrgetter("__name__"))
async def test_backend_keeps_the_contract(check: Check, harness: PostgresHarness) -> None:
    if not harness.has_feed and check.__name__.startswith("check_feed"):
        pytest.skip("a pooler in transaction mode has no feed")
    await check(harness)
