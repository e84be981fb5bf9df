"""Swaps that begin together: few statements, an answer for each, and news of those alone that changed something."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest

from cachecore.contract import Alive, Changed, Lost
from cachecore_postgres import PostgresBackend
from cachecore_postgres.connections import Connection
from tests.postgres.server import Server


async def test_swaps_that_begin_together_are_few_statements(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand callers have a claim each: a statement for each of them is late, and nothing would be stored."""
    keys = [f"p:{i}" for i in range(1000)]
    backend, other = PostgresBackend(postgres_url), PostgresBackend(postgres_url)
    await other.set_many(dict.fromkeys(keys[::2], b"v"), ttl=60)
    feed = other.feed("p:")
    assert [type(await anext(feed)) for _ in range(2)] == [Lost, Alive]
    sent, execute = list[object](), Connection.execute

    async def counted(connection: Connection, query: Any, *values: Any, **options: Any) -> Any:
        sent.append(query)
        return await execute(connection, query, *values, **options)

    monkeypatch.setattr(Connection, "execute", counted)
    won = await asyncio.gather(*(backend.swap(key, None, b"w", ttl=60) for key in keys))
    assert won == [False, True] * 500
    assert sent.count(backend._sql.insert) == 4
    replaced = [backend.swap(key, b"w", key.encode() if key[-1] == "1" else None, ttl=60) for key in keys]
    assert await asyncio.gather(*replaced) == won
    assert sent.count(backend._sql.replace) == 4
    assert await other.get_many(["p:0", "p:1", "p:3"]) == [b"v", b"p:1", None]
    told: list[str] = []
    while type(event := await anext(feed)) is not Alive:
        assert isinstance(event, Changed)
        told += event.keys
    assert sorted(told) == sorted(keys[1::2] * 2)  # a swap that changed nothing is not told
    await feed.aclose()  # type: ignore[attr-defined] # an async generator
    for each in (backend, other):
        await each.aclose()


async def test_swaps_of_many_keys_read_the_values_of_those_keys_alone(postgres_url: str) -> None:
    """A join on keys and values would hash the values of the whole table."""
    backend = PostgresBackend(postgres_url)
    await backend.set_many({f"k{number}": b"v" * 1000 for number in range(2000)}, ttl=60)
    rows = [f"k{number}" for number in range(200)], [b"w"] * 200, [60.0] * 200, [b"v"] * 200
    async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as connection:
        await connection.execute("ANALYZE cachecore")
        for sql, values in ((backend._sql.replace, (*rows, "me")), (backend._sql.extend, rows)):
            plan = await (await connection.execute(b"EXPLAIN " + sql, values)).fetchall()
            assert not [line for (line,) in plan if "Cond" in line and "value" in line]
    await backend.aclose()


async def test_a_counter_that_is_given_up_leaves_the_calls_before_it_alone(postgres_url: str) -> None:
    backend = PostgresBackend(postgres_url)
    await backend.set_many({"k": b"v"}, ttl=60)
    read, swapped = backend.get_many(["k"]), asyncio.ensure_future(backend.swap("l", None, b"w", ttl=60))
    advanced = asyncio.ensure_future(backend.advance("m"))
    await asyncio.sleep(0)  # all three have begun
    advanced.cancel()
    assert (await read, await swapped) == ([b"v"], True)
    await backend.aclose()


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
async def test_calls_that_meet_at_one_key_are_answered_whatever_the_isolation(
    postgres: Server, postgres_url: str, isolation: str
) -> None:
    """A statement that waited for another's row would fail where the database's default is stricter than ours."""
    postgres.ask(f"ALTER ROLE owner SET default_transaction_isolation = '{isolation}'")
    try:
        backend, other = PostgresBackend(postgres_url), PostgresBackend(postgres_url)
        await backend.set_many({"k": b"v"}, ttl=60)
        async with await psycopg.AsyncConnection.connect(postgres_url) as holder:
            await holder.execute("UPDATE cachecore SET expires = 'infinity' WHERE key = 'k'")
            calls = [asyncio.ensure_future(one.swap("k", b"v", b"x", ttl=60)) for one in (backend, other)]
            while not postgres.ask("SELECT 1 FROM pg_locks WHERE NOT granted OFFSET 1"):  # both wait for the holder
                assert not any(call.done() for call in calls)
                await asyncio.sleep(0.01)
            await holder.commit()
        assert sorted(await asyncio.gather(*calls)) == [False, True]
    finally:
        postgres.ask("ALTER ROLE owner RESET default_transaction_isolation")
    for one in (backend, other):
        await one.aclose()
