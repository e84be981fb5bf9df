"""One server for all tests of Postgres in a worker, started when first asked for."""

from __future__ import annotations

import functools

import psycopg
import pytest

from tests.postgres.server import Server, make_moved_database, missing


@functools.cache
def shared() -> Server:
    """Return the running server of this process: folders that import the fixture would else have one each."""
    server = Server().__enter__()
    make_moved_database(server)
    return server


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest) -> Server:
    """A running server. Shared: leave it healthy."""
    if missing():
        pytest.skip(missing())
    first = not shared.cache_info().currsize
    server = shared()
    if first:
        request.config.add_cleanup(server.close)
    return server


@pytest.fixture
def postgres_url(postgres: Server) -> str:
    """The address of a database without tables of ours."""
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS cachecore")
    return postgres.url()
