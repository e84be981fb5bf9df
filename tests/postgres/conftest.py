"""One server for all tests of Postgres in a worker, started when first asked for."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.postgres.server import Server, make_moved_database, missing


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A running server. Shared: leave it healthy."""
    if missing():
        pytest.skip(missing())
    with Server() as server:
        make_moved_database(server)
        yield server


@pytest.fixture
def postgres_url(postgres: Server) -> str:
    """The address of a database without tables of ours."""
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS cachecore")
    return postgres.url()
