"""What the contract does not say of a Postgres store: its table, its loops and forks, poolers, what others may do."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import threading
import time
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner

from cachecore import Cache
from cachecore.cli import app
from cachecore.contract import Alive, BackendError, Changed, Lost, monotonic
from cachecore_postgres import PostgresBackend, PostgresOptions
from tests.postgres.server import Bouncer, Server, program


@pytest.fixture
async def backend(postgres_url: str) -> AsyncIterator[PostgresBackend]:
    made = PostgresBackend(postgres_url)
    yield made
    await made.aclose()


def ask(server: Server, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


async def test_the_first_write_makes_the_table_and_looking_does_not(backend: PostgresBackend, postgres: Server) -> None:
    ((_, facts),) = (await backend.about("cc:")).items()
    assert facts["table"] == "not made yet"
    assert await backend.get_many(["k", "l"]) == [None, None]
    assert await backend.sizes(["k"]) == [0]
    assert await backend.extend({"k": b"v"}, ttl=60) == [False]
    assert [page async for page in backend.scan("")] == []
    assert await backend.time() > 0
    feed = backend.feed("")
    assert [type(await anext(feed)) for _ in range(2)] == [Lost, Alive]
    assert ask(postgres, "SELECT to_regclass('cachecore')") == [(None,)]
    await asyncio.gather(*(backend.set_many({f"k{i}": b"v"}, ttl=60) for i in range(20)))
    assert await backend.get_many([f"k{i}" for i in range(20)]) == [b"v"] * 20
    ((_, facts),) = (await backend.about("cc:")).items()
    assert facts == {
        "server": facts["server"],
        "read-only": "off",
        "table": "unlogged: empty after a crash or a failover",
        "feed": "LISTEN/NOTIFY",
    }
    async with asyncio.timeout(60):  # what changed while there was no table to listen for may be unknown
        while type(await anext(feed)) is not Lost:
            pass
        while type(await anext(feed)) is not Alive:
            pass
    await feed.aclose()  # type: ignore[attr-defined] # an async generator


@pytest.mark.parametrize("command", [["doctor"], ["stats"], ["ls"], ["export", "FILE"]])
def test_commands_that_look_make_no_table(
    postgres_url: str, postgres: Server, command: list[str], tmp_path: Path
) -> None:
    """A name that is mistyped leaves nothing behind, nor is the table made with options that are not the caches'."""
    words = [word.replace("FILE", str(tmp_path / "archive")) for word in command]
    done = CliRunner().invoke(app(), [*words, postgres_url])
    assert done.exit_code == (1 if command == ["ls"] else 0), done.output  # `ls` found nothing
    assert ("not made yet" in done.output) == (command == ["doctor"])
    assert ask(postgres, "SELECT to_regclass('cachecore')") == [(None,)]


async def test_a_table_that_is_dropped_costs_a_call_and_is_made_again(postgres_url: str, postgres: Server) -> None:
    backend = PostgresBackend(postgres_url + "&connections=1")
    feed = backend.feed("")
    assert [type(await anext(feed)) for _ in range(2)] == [Lost, Alive]
    await backend.set_many({"k": b"v"}, ttl=60)
    await backend.time()  # comes behind the sweep of that write, which would meet the error: there is one connection
    ask(postgres, "DROP TABLE cachecore")
    with pytest.raises(BackendError):
        await backend.get_many(["k"])
    assert await backend.get_many(["k"]) == [None]
    assert await backend.swap("k", None, b"w", ttl=60)
    assert await backend.get_many(["k"]) == [b"w"]
    async with asyncio.timeout(60):  # notifications of the new table come on a channel of its own
        while type(await anext(feed)) is not Lost:
            pass
        while type(await anext(feed)) is not Alive:
            pass
    await feed.aclose()  # type: ignore[attr-defined] # an async generator
    await backend.aclose()


async def test_connections_that_the_server_closed_lose_no_call(backend: PostgresBackend, postgres: Server) -> None:
    """An idle connection is looked at before it is used."""
    await asyncio.gather(*(backend.set_many({f"k{i}": b"v"}, ttl=60) for i in range(8)))
    for number in range(10):
        ended = ask(
            postgres,
            "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'",
        )
        assert ended, "no connection was there to be closed"
        assert await backend.get_many([f"k{number % 8}"]) == [b"v"]


async def test_dead_rows_are_deleted_in_steps_behind_writes(postgres_url: str, postgres: Server) -> None:
    """No more than 256 a step; while there are more, each write has a step."""
    backend = PostgresBackend(postgres_url + "&connections=1")
    await backend.set_many({f"dead{i}": b"v" for i in range(900)}, ttl=0.001)
    left = [900]
    while left[-1]:
        await backend.set_many({"k": b"v"}, ttl=60)
        await backend.time()  # comes behind the step: there is one connection
        ((count,),) = ask(postgres, "SELECT count(*) FROM cachecore WHERE expires < now()")
        assert isinstance(count, int)
        left.append(count)
        assert len(left) < 8
    assert all(before - after <= 2 * 256 for before, after in itertools.pairwise(left))  # the first write has one, too
    assert all(before - after <= 256 for before, after in itertools.pairwise(left[1:]))
    await backend.aclose()


async def test_tables_of_one_database_do_not_mix(postgres: Server) -> None:
    ask(postgres, "DROP SCHEMA IF EXISTS other CASCADE; CREATE SCHEMA other; DROP TABLE IF EXISTS one, cachecore")
    names: list[dict[str, Any]] = [{"table": "one"}, {}, {"schema": "other"}]
    ways = [PostgresOptions(heartbeat=0.05, **each) for each in names]
    backends = [PostgresBackend(postgres.url(), options=options) for options in ways]
    feeds = [backend.feed("") for backend in backends]
    for each in backends:
        await each.delete_many(["none"])  # makes the table
    for feed in feeds:
        assert [type(await anext(feed)) for _ in range(2)] == [Lost, Alive]
    writer = PostgresBackend(postgres.url(), options=ways[2])
    await writer.set_many({"k": b"v"}, ttl=60)
    assert [await backend.get_many(["k"]) for backend in backends] == [[None], [None], [b"v"]]
    told = [[type(await anext(feed)) for _ in range(2)] for feed in feeds]
    assert told == [[Alive, Alive], [Alive, Alive], [Changed, Alive]]
    for feed in feeds:
        await feed.aclose()  # type: ignore[attr-defined] # an async generator
    for backend in (*backends, writer):
        await backend.aclose()


async def test_a_missing_schema_is_named(postgres: Server) -> None:
    backend = PostgresBackend(postgres.url(query="schema=nowhere"))
    for call in (backend.about("cc:"), backend.set_many({"k": b"v"}, ttl=60)):
        with pytest.raises(BackendError) as refused:
            await call
        assert (refused.value.reason, refused.value.transient) == ("schema", False)
    await backend.aclose()


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
async def test_a_database_of_another_encoding_is_used(postgres: Server, encoding: str) -> None:
    """`initdb` in a locale of C makes databases in SQL_ASCII."""
    ask(postgres, "DROP DATABASE IF EXISTS encoded")
    ask(postgres, f"CREATE DATABASE encoded ENCODING '{encoding}' TEMPLATE template0 LOCALE 'C'")
    backend = PostgresBackend(postgres.url("encoded"))
    await backend.set_many({"k": b"v", "l": b"w"}, ttl=60)
    assert await backend.get_many(["k", "none"]) == [b"v", None]
    assert await backend.sizes(["k"]) == [1]
    assert await backend.extend({"k": b"v"}, ttl=90) == [True]
    assert [page async for page in backend.scan("")] == [["k", "l"]]
    assert await backend.delete_many(["k"]) == 1
    ((_, facts),) = (await backend.about("cc:")).items()
    assert facts["server"].startswith("PostgreSQL")
    await backend.aclose()
    ask(postgres, "DROP DATABASE encoded WITH (FORCE)")


async def test_a_socket_of_the_machine_is_used(postgres: Server) -> None:
    where = f"host={postgres.folder}&port={postgres.port}&user=owner&password=pass/word"
    backend = PostgresBackend(f"postgres:///postgres?{where}&table=cachecore")
    await backend.set_many({"k": b"v"}, ttl=60)
    assert await backend.get_many(["k"]) == [b"v"]
    await backend.aclose()


async def test_a_user_that_may_not_make_tables_uses_one_that_is_there(postgres: Server, postgres_url: str) -> None:
    ask(
        postgres,
        "DROP TABLE IF EXISTS cachecore; DROP ROLE IF EXISTS little; REVOKE CREATE ON SCHEMA public FROM public",
    )
    ask(postgres, "CREATE ROLE little LOGIN PASSWORD 'pass/word'")
    little = PostgresBackend(postgres.url(user="little"))
    with pytest.raises(BackendError) as refused:
        await little.set_many({"k": b"v"}, ttl=60)
    assert (refused.value.reason, refused.value.transient) == ("auth", False)
    ((_, facts),) = (await little.about("cc:")).items()
    assert facts["table"] == "not made yet, and this user may not make it"
    owner = PostgresBackend(postgres_url)
    await owner.set_many({"k": b"v"}, ttl=60)
    ask(postgres, "GRANT SELECT, INSERT, UPDATE, DELETE ON cachecore TO little")
    assert await little.swap("k", b"v", b"w", ttl=60)
    assert await little.delete_many(["k"]) == 1
    for backend in (little, owner):
        await backend.aclose()
    ask(postgres, "DROP TABLE cachecore; DROP ROLE little; GRANT CREATE ON SCHEMA public TO public")


async def test_a_table_of_another_program_is_left_alone(backend: PostgresBackend, postgres: Server) -> None:
    ask(postgres, "CREATE TABLE cachecore (id int)")
    for call in (lambda: backend.get_many(["k"]), lambda: backend.set_many({"k": b"v"}, ttl=60)):
        with pytest.raises(BackendError) as refused:
            await call()
        assert not refused.value.transient
    assert ask(postgres, "SELECT * FROM cachecore") == []


async def test_batches_in_any_order_never_wait_for_each_other(backend: PostgresBackend) -> None:
    """Rows are locked in the order of their keys: no deadlock, which costs a second and an error."""
    keys = [f"k{i}" for i in range(40)]
    calls: list[Awaitable[object]] = []
    for turn in range(30):
        order = keys if turn % 2 else keys[::-1]
        calls += [backend.set_many(dict.fromkeys(order, b"v"), ttl=60), backend.delete_many(order)]
        calls += [backend.extend(dict.fromkeys(order, b"v"), ttl=90)]
    await asyncio.gather(*calls)


async def test_batches_never_wait_for_each_other_in_a_database_with_the_order_of_a_language(postgres: Server) -> None:
    """Most databases have one: there `a` comes before `B`, and colons hardly count."""
    if str(ask(postgres, "SHOW server_version_num")[0][0]) < "150000":
        pytest.skip("databases have the order of ICU from Postgres 15 on")
    ask(postgres, "DROP DATABASE IF EXISTS sorted")
    ask(postgres, "CREATE DATABASE sorted TEMPLATE template0 LOCALE 'C' LOCALE_PROVIDER icu ICU_LOCALE 'en-US'")
    backend, keys = PostgresBackend(postgres.url("sorted")), [f"{name}{i}" for i in range(20) for name in "aBcD"]
    await backend.set_many(dict.fromkeys(keys, b"v"), ttl=60)
    for _ in range(30):
        calls = (backend.set_many(dict.fromkeys(keys, b"v"), ttl=60), backend.delete_many(keys))
        await asyncio.gather(*calls, *(backend.swap(key, b"v", b"v", ttl=60) for key in keys))
    await backend.aclose()
    ask(postgres, "DROP DATABASE sorted WITH (FORCE)")


async def test_keys_of_250_bytes_are_told_in_payloads_that_postgres_takes(postgres_url: str) -> None:
    backend, other = PostgresBackend(postgres_url), PostgresBackend(postgres_url)
    await other.delete_many(["none"])  # makes the table
    feed = backend.feed("p:")
    assert [type(await anext(feed)) for _ in range(2)] == [Lost, Alive]
    keys = {f"p:{i:0248}" for i in range(1000)}
    await other.set_many(dict.fromkeys(keys, b"v"), ttl=60)
    assert await other.delete_many(sorted(keys)) == 1000
    told: list[str] = []
    while type(event := await anext(feed)) is not Alive:
        assert isinstance(event, Changed)
        told += event.keys
    assert sorted(told) == sorted([*keys, *keys])
    await feed.aclose()  # type: ignore[attr-defined] # an async generator
    for each in (backend, other):
        await each.aclose()


async def test_no_change_is_missing_before_the_heartbeat_that_covers_it(postgres_url: str) -> None:
    """Each change that was acknowledged before a heartbeat was sent comes before it."""
    backend, other = PostgresBackend(postgres_url + "&heartbeat=2ms"), PostgresBackend(postgres_url)
    acknowledged: list[tuple[float, str]] = []

    async def write() -> None:
        for number in range(300):
            await other.set_many({f"p:{number}": b"v"}, ttl=60)
            acknowledged.append((monotonic(), f"p:{number}"))

    await other.delete_many(["none"])  # makes the table
    feed = backend.feed("p:")
    assert await anext(feed) == Lost()
    told: set[str] = set()
    beats = 0
    writer = asyncio.create_task(write())
    async with asyncio.timeout(60):
        async for event in feed:
            if isinstance(event, Changed):
                told |= set(event.keys)
            elif isinstance(event, Lost):  # a heartbeat was late: what comes now may have gaps, and says so
                told |= {key for _, key in acknowledged}
            elif isinstance(event, Alive):
                beats += 1
                missing = {key for when, key in acknowledged if when < event.sent_at} - told
                assert not missing
                if writer.done() and event.sent_at > acknowledged[-1][0]:
                    break
    assert beats > 10
    await writer
    await feed.aclose()  # type: ignore[attr-defined] # an async generator
    for each in (backend, other):
        await each.aclose()


async def test_through_pgbouncer_there_is_no_feed_and_doctor_says_so(postgres: Server) -> None:
    if program("pgbouncer") is None:
        pytest.skip("pgbouncer is not installed")
    with Bouncer(postgres) as bouncer:
        backend = PostgresBackend(bouncer.url())
        feed = backend.feed("cc:")
        assert await anext(feed) == Lost()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(feed), 0.5)
        ((_, facts),) = (await backend.about("cc:")).items()
        assert facts["feed"] == "none (a pooler or a replica): copies in memory live for l1_max_age only"
        async with Cache(bouncer.url(), ttl=60) as cache:
            for _ in range(20):
                assert await cache.get_or_set({"q": 1}, _answer) == 42
        await backend.aclose()


async def _answer() -> int:
    return 42


async def test_a_feed_ends_with_its_backend(postgres_url: str, postgres: Server) -> None:
    backend = PostgresBackend(postgres_url)
    feed = backend.feed("p:")
    assert [type(await anext(feed)) for _ in range(2)] == [Lost, Alive]
    await backend.aclose()
    async with asyncio.timeout(60):
        async for event in feed:
            assert isinstance(event, Alive | Lost)


def test_a_loop_that_ends_with_calls_under_way_says_nothing(
    postgres_url: str, postgres: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """Its connections are closed with it, and no error is logged for callers that are gone."""

    async def leave() -> None:
        backend = PostgresBackend(postgres_url)
        await backend.set_many({"k": b"v"}, ttl=60)
        calls = [asyncio.ensure_future(backend.get_many(["k"])) for _ in range(20)]
        await asyncio.sleep(0)
        assert not any(call.done() for call in calls)

    asyncio.run(leave())
    gc.collect()
    assert not caplog.records
    others = "SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
    limit = time.monotonic() + 60
    while ask(postgres, others) != [(0,)]:
        assert time.monotonic() < limit, "a connection is still open"


def test_loops_one_after_the_other_and_in_threads_and_forks(postgres_url: str) -> None:
    """Each has connections of its own; the parent's go on working after a child that used the store has ended."""
    backend = PostgresBackend(postgres_url)

    async def use(name: str) -> None:
        await backend.set_many({name: name.encode()}, ttl=60)
        assert await backend.get_many([name]) == [name.encode()]

    for number in range(3):
        asyncio.run(use(f"loop{number}"))
    threads = [threading.Thread(target=asyncio.run, args=(use(f"thread{i}"),)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    async def parent() -> None:
        await use("parent")
        child = os.fork()
        if child == 0:
            status = 1
            try:
                asyncio.events._set_running_loop(None)
                asyncio.run(use("child"))
                status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode((await asyncio.to_thread(os.waitpid, child, 0))[1]) == 0
        for number in range(20):
            await use(f"after{number}")
        await backend.aclose()

    asyncio.run(parent())


async def test_a_connection_opened_beside_others_is_no_reason_to_wait_longer(backend: PostgresBackend) -> None:
    """The guard gives a call the time that its connection took, and would take this one for it."""
    await backend.set_many({"k": b"v"}, ttl=60)
    first = backend.link("k")
    await asyncio.gather(*(backend.get_many(["k"]) for _ in range(4)))
    pool = backend._pools.get(asyncio.get_running_loop())
    assert pool is not None
    assert len(pool._idle) > 1
    assert backend.link("k") is first


async def test_a_connection_opened_in_place_of_a_closed_one_is_a_reason_to_wait_longer(
    backend: PostgresBackend, postgres: Server
) -> None:
    """Calls had to wait for it, also where no attempt to connect has failed."""
    await backend.set_many({"k": b"v"}, ttl=60)
    pool = backend._pools.get(asyncio.get_running_loop())
    assert pool is not None
    if sweeping := pool.tasks - {pool.life}:
        await asyncio.wait(sweeping)
    first = backend.link("k")
    others = "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    assert ask(postgres, f"SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity {others}") == [(True,)]
    begun = asyncio.get_running_loop().time()
    assert await backend.get_many(["k"]) == [b"v"]
    again = backend.link("k")
    assert first is not None
    assert again is not None
    assert first.since < begun < again.since
    assert first.address == again.address


async def test_a_statement_that_fails_after_its_caller_has_left_is_no_noise(
    backend: PostgresBackend, postgres: Server
) -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    await backend.set_many({"k": b"v"}, ttl=60)
    backend.limit_waits(connect=30.0, silence=0.2)
    pool = backend._pools.get(asyncio.get_running_loop())
    assert pool is not None
    with psycopg.connect(postgres.url()) as other:
        other.execute("LOCK TABLE cachecore")
        call = asyncio.ensure_future(backend.get_many(["k"]))
        await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait(pool.tasks - {pool.life})
    gc.collect()
    assert told == []


def test_looking_commands_make_no_table(postgres_url: str, postgres: Server) -> None:
    for command, status in (("doctor", 0), ("stats", 0), ("ls", 1)):
        done = CliRunner().invoke(app(), [command, postgres_url])
        assert done.exit_code == status, done.output
    with psycopg.connect(postgres.url()) as connection:
        assert connection.execute("SELECT to_regclass('cachecore')").fetchone() == (None,)
