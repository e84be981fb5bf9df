"""The Postgres backend keeps the contract: straight, in a logged table of another schema over TLS, through a pooler.

The server is real. Its clock is moved by functions of the database that stand before the built-in ones: the suite waits
for nothing. `tests/postgres` lets some real time pass.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest

from cachecore.contract import CacheBackend
from cachecore.testing.conformance import CHECKS, Check, crowds, feeds, optional, swaps
from cachecore_postgres import PostgresBackend
from tests.postgres.conftest import postgres  # noqa: F401 - a fixture
from tests.postgres.server import Bouncer, Server, program


class PostgresHarness:
    """A backend on a real server with a clock that the test moves."""

    ttl_rounding = 0.0

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

    leap = advance

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


# Straight, every check. TLS, a log and names to be quoted change statements: the checks that need all of them. A pooler
# changes which process answers: the checks of many calls at once. `make soak` runs the others as well.
SHORT = {
    "straight": {check.__module__ for check in CHECKS},
    "other schema, logged, TLS": {optional.__name__, swaps.__name__},
    "pgbouncer": {crowds.__name__, swaps.__name__},
}
CASES = [
    pytest.param(way, check, id=f"{way}-{check.__name__}", marks=[] if check.__module__ in short else pytest.mark.soak)
    for way, short in SHORT.items()
    for check in CHECKS
    if way != "pgbouncer" or check.__module__ != feeds.__name__  # through a pooler there is no feed
]


@pytest.fixture
async def harness(request: pytest.FixtureRequest, postgres: Server, way: str) -> AsyncIterator[PostgresHarness]:  # noqa: F811
    if way == "pgbouncer":
        url = request.getfixturevalue("bouncer").url("moved")
    elif way == "straight":
        url = postgres.url("moved", "heartbeat=50ms")
    else:
        query = f"schema=o%22ther%25s&table=t%27%25%22LIVE_&durability=logged&{postgres.verified}&heartbeat=50ms"
        url = postgres.url("moved", query)
    made = PostgresHarness(url, postgres)
    await made.backend.delete_many(["none"])  # makes the table: a feed begins anew with it
    yield made
    await made.aclose()


@pytest.mark.parametrize(("way", "check"), CASES)
async def test_backend_keeps_the_contract(way: str, check: Check, harness: PostgresHarness) -> None:
    await check(harness)
