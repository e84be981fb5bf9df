"""A Postgres server that is killed, frozen, full, locked, read-only or replaced (P1-P6)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import psycopg
import pytest

from cachecore.contract import BackendError, BackendTimeout, InvalidationPending
from cachecore_postgres import PostgresBackend
from tests.conftest import Record
from tests.faults.callers import PATIENT, answer, cache_at, filled, in_a_row, request, sizes, until
from tests.faults.reliability import ms, percentile
from tests.postgres.server import Server, make_folder, missing
from tests.sqlite.disks import mounted


@pytest.fixture
def server() -> Iterator[Server]:
    """A server of this test's own."""
    if missing():
        pytest.skip(missing())
    with Server() as running:
        yield running


@contextlib.asynccontextmanager
async def backend_at(url: str, *, silence: float) -> AsyncIterator[PostgresBackend]:
    backend = PostgresBackend(url)
    backend.limit_waits(connect=30.0, silence=silence)
    try:
        yield backend
    finally:
        await backend.aclose()


@sizes(1, 5)
async def test_p1_killed_and_started_again(size: int, server: Server, record: Record) -> None:
    """No caller notices but by the time of its computation; the store and the copies in memory are trusted again."""
    store, memory = [], []
    async with cache_at(server.url()) as cache:
        for _ in range(size):
            await filled(cache)
            await until(lambda: cache._engine.feed_state.live)
            server.stop(signal.SIGQUIT)  # as a crash: nothing is written, and the next start finds the table empty
            tally = await in_a_row(cache, 200)
            tally.clean()
            with pytest.raises(InvalidationPending):
                await cache.delete(request(1))
            server.start()
            began, stored = time.monotonic(), cache.stats.stored
            number = 1000
            while cache.stats.stored == stored:
                number += 1
                await cache.get_or_set(request(number), partial(_answer, number))
            store.append(time.monotonic() - began)
            await until(lambda: cache._engine.feed_state.live)
            memory.append(time.monotonic() - began)
            assert await cache.get(request(1)) is None
    record(
        "P1",
        f"0 errors; store after {ms(max(store))}, memory after {ms(max(memory))} (longest)",
        met=max(store) <= 1 and max(memory) <= 2,
        size=f"{size} crashes",
    )


async def _answer(number: int) -> Any:
    return answer(number)


@sizes(150, 1000)
async def test_p2_frozen(size: int, server: Server, record: Record) -> None:
    """A frozen server costs a few callers one deadline each; a cache on it closes without waiting for it."""
    cache = cache_at(server.url(), l1_max_entries=0)
    await filled(cache)
    server.signal_all(signal.SIGSTOP)
    try:
        tally = await in_a_row(cache, size)
        began = time.monotonic()
        await cache.aclose()
        closed = time.monotonic() - began
    finally:
        server.signal_all(signal.SIGCONT)
    tally.clean()
    assert tally.factory_calls == size
    p99 = percentile(sorted(tally.seconds)[:-5], 0.99)
    record(
        "P2",
        f"first calls {ms(max(tally.seconds))}, then p99 {ms(p99)}; closed in {ms(closed)}",
        met=max(tally.seconds) <= 0.06 and p99 <= 0.002 and closed <= 1,
        size=f"{size:,} calls",
    )


@sizes(200, 1000)
async def test_p3_full_disk(size: int, record: Record) -> None:
    """Writes are refused and say why, reads go on, and what is deleted makes room."""
    if missing():
        pytest.skip(missing())
    folder = make_folder()
    space = folder / "space"
    space.mkdir()
    try:
        with mounted(space, "tmpfs", "size=24m,mode=777"), Server(folder=folder) as server:
            (space / "table").mkdir()
            owner = folder.stat()
            os.chown(space / "table", owner.st_uid, owner.st_gid)
            server.ask(f"CREATE TABLESPACE small LOCATION '{space}/table'")
            url = server.url(query="options=-c%20default_tablespace%3Dsmall")
            async with backend_at(url, silence=30.0) as backend, cache_at(url, **PATIENT) as cache:
                await filled(cache)
                refused = await _filled_up(backend)
                tally = await in_a_row(cache, size)
                tally.clean()
                assert tally.factory_calls == 0  # what is there is read as before
                (await in_a_row(cache, 100, keys=10_000)).clean()
                assert (refused.reason, refused.transient) == ("full", False)
                server.ask("DROP TABLE cachecore")
                await filled(cache, 1)  # each connection that knew the old table is replaced
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    record("P3", "0 errors; reads answered, writes refused as `full`", met=True, size=f"{size:,} calls")


async def _filled_up(backend: PostgresBackend) -> BackendError:
    for number in range(200):
        try:
            await backend.set_many({f"ballast:{number}": os.urandom(400_000)}, ttl=600)
        except BackendError as error:
            return error
    raise AssertionError("the disk did not fill up")


@sizes(200, 1000)
async def test_p4_statement_timeout(size: int, server: Server, record: Record) -> None:
    """A locked table costs a deadline; what was given up is not carried out when the lock is gone."""
    async with backend_at(server.url(), silence=1.0) as backend, cache_at(server.url(), write_timeout=0.3) as cache:
        await filled(cache)
        with psycopg.connect(server.url()) as other:
            other.execute("LOCK TABLE cachecore")
            tally = await in_a_row(cache, size, keys=10_000)
            tally.clean()
            began = time.monotonic()
            assert await cache.set(request(1), answer(1)) is False
            waited = time.monotonic() - began
            with pytest.raises(BackendTimeout):
                await backend.set_many({"late": b"v"}, ttl=60)
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            await until(lambda: server.ask(waiting) == [(0,)])  # the server gave it up as well
        assert await backend.get_many(["late"]) == [None]
    record(
        "P4",
        f"longest call {ms(max(tally.seconds))}, `set` told after {ms(waited)}; 0 carried out later",
        met=max(tally.seconds) <= 0.06 and waited <= 0.5,
        size=f"{size:,} calls",
    )


@sizes(200, 1000)
async def test_p5_read_only(size: int, server: Server, record: Record) -> None:
    """What is stored is served, what is new is computed, and an invalidation waits until writes are taken again."""
    async with cache_at(server.url(query="durability=logged"), l1_max_entries=0) as cache:
        await filled(cache)
        server.ask("ALTER SYSTEM SET default_transaction_read_only = on")
        server.ask("SELECT pg_reload_conf()")
        await until(lambda: server.ask("SHOW default_transaction_read_only") == [("on",)])
        tally = await in_a_row(cache, size)
        tally.clean()
        (await in_a_row(cache, 100, keys=10_000)).clean()
        with pytest.raises(InvalidationPending):
            await cache.invalidate_tags("tag 1")
        assert await cache.get(request(1)) is None
        with psycopg.connect(
            server.url(query="options=-c%20default_transaction_read_only%3Doff"), autocommit=True
        ) as on:
            on.execute("ALTER SYSTEM RESET default_transaction_read_only")
            on.execute("SELECT pg_reload_conf()")
        took = await until(lambda: cache.stats.pending == 0)
        assert await cache.get(request(1)) is None
        async with asyncio.timeout(30):
            got = await cache.get(request(2))
            while got is None:  # a busy machine may miss the deadline of one read, and open the breaker
                await asyncio.sleep(0)  # a refused read takes no turn of the loop
                got = await cache.get(request(2))
        assert got == answer(2)
    record(
        "P5",
        f"{size - tally.factory_calls} of {size:,} stored answers served; delivered {ms(took)} after writes were taken",
        met=tally.factory_calls <= size // 20 and took <= 1,
        size=f"{size:,} calls",
    )


@sizes(1, 1)
async def test_p6_failover_to_another_host(size: int, server: Server, record: Record) -> None:
    """With two hosts and `target_session_attrs=read-write` the store moves along when the first turns read-only."""
    with Server() as second:
        where = f"127.0.0.1:{server.port},127.0.0.1:{second.port}"
        url = f"postgres://owner:pass%2Fword@{where}/postgres?sslmode=disable&target_session_attrs=read-write"
        async with cache_at(url, l1_max_entries=0) as cache:
            await filled(cache)
            server.ask("ALTER SYSTEM SET default_transaction_read_only = on")
            server.ask("SELECT pg_reload_conf()")
            began, number = time.monotonic(), 1000
            stored: object = 0
            while not stored:
                number += 1
                assert await cache.get_or_set(request(number), partial(_answer, number))
                with contextlib.suppress(psycopg.errors.UndefinedTable):
                    ((stored,),) = second.ask("SELECT count(*) FROM cachecore")
                assert time.monotonic() < began + 30
            took = time.monotonic() - began
            tally = await in_a_row(cache, 200)
            tally.clean()
    record("P6", f"0 errors, the other host used after {ms(took)}", met=took <= 1, size=f"{size} failover")
