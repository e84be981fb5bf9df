"""URLs and options: what is wrong is said while building, and no password is shown."""

from __future__ import annotations

from typing import Any

import pytest

from cachecore import Cache
from cachecore.contract import OptionsError
from cachecore_postgres import PostgresBackend, PostgresOptions
from cachecore_postgres.options import parse_url


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"table": ""}, "table must be a name of 1 to 63 bytes, not ''"),
        ({"table": "é" * 32}, "table must be a name of 1 to 63 bytes"),
        ({"durability": "crash"}, "durability must be unlogged or logged, not 'crash'"),
        ({"connections": 0}, "connections must be a whole number from 1 to 100, not 0"),
        ({"connections": "many"}, "not 'many'"),
        ({"connections": True}, "not True"),
        ({"heartbeat": 0}, "heartbeat must be more than 0 seconds"),
    ],
)
def test_wrong_options_are_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(OptionsError, match=says):
        PostgresOptions(**wrong)


def test_options_stand_beside_those_of_libpq() -> None:
    plain, options = parse_url(
        "postgresql://me@db:5433/app?sslmode=verify-full&table=a%25b&connections=7&heartbeat=1s&application_name=x"
    )
    assert plain == "postgresql://me@db:5433/app?sslmode=verify-full&application_name=x"
    assert options == PostgresOptions(table="a%b", connections=7, heartbeat=1.0)


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("postgres:///app?host=/run/postgresql", "postgres:///app?host=%2Frun%2Fpostgresql"),
        ("postgres:///app?host=/run/postgresql&table=x", "postgres:///app?host=%2Frun%2Fpostgresql"),
        ("postgres://me@one:1,two:2/app?table=x", "postgres://me@one:1,two:2/app"),
        ("postgres://me:a#b@db/app?table=x", "postgres://me:a#b@db/app"),
        ("postgres://db/app?user=me&password=a+b%20c", "postgres://db/app?user=me&password=a%2Bb%20c"),
    ],
)
def test_what_libpq_takes_stays_as_it_is(url: str, plain: str) -> None:
    """A socket has no host before the database; + is a character, not a space."""
    assert parse_url(url)[0] == plain
    PostgresBackend(url)
    Cache(url, ttl=60)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgres://u:hunter22@h/db?sslmod=require", "libpq does not take"),
        ("postgres://u:hunter22@h/db?connections=none", "from 1 to 100, not"),
    ],
)
def test_wrong_urls_are_refused_without_the_password(url: str, says: str) -> None:
    for build in (PostgresBackend, lambda url: Cache(url, ttl=60)):
        with pytest.raises(OptionsError, match=says) as refused:
            build(url)
        assert "hunter22" not in str(refused.value)


def test_another_scheme_is_refused() -> None:
    with pytest.raises(OptionsError, match="looks like postgres://"):
        PostgresBackend("mysql://h/db")
