"""A1: whatever the store does, every caller is answered, and rightly."""

from __future__ import annotations

import asyncio
import os
import random
import time
from pathlib import Path
from typing import Any

import pytest

from cachecore import Cache
from cachecore.testing.proxy import Proxy
from cachecore.testing.servers import Certificates, Server, free_port, speaks_tls
from tests.conftest import SERVERS, Record
from tests.faults.callers import KEYS, Tally, answer, ask, cache_at, filled, request, sizes, together, until
from tests.faults.kinds import FAULTS, Scene
from tests.sqlite.children import hold_lock, running

NEW = 1000
"""A request that nobody has asked yet."""

_survived: dict[str, int] = {}


def _note(record: Record, name: str, tally: Tally) -> None:
    tally.clean()
    _survived[name] = tally.calls
    kinds, calls = len(_survived), sum(_survived.values())
    record("A1", f"{kinds} kinds: 0 errors, 0 wrong", met=kinds >= 30, size=f"{calls:,} calls")


async def _in_use_again(cache: Cache[Any]) -> None:
    """Ask until an answer is stored and read back."""
    before = cache.stats.hits_l2
    tally = Tally()
    limit = time.monotonic() + 20
    while cache.stats.hits_l2 == before:
        assert time.monotonic() < limit, cache.stats
        await ask(cache, NEW, tally)
        await asyncio.sleep(0.01)
    tally.clean()


@sizes(80, 1000)
@pytest.mark.parametrize("name", FAULTS)
async def test_every_call_is_answered(name: str, size: int, record: Record) -> None:
    """A mixed load over a faulty store: values are right, only explicit writes may raise, and it recovers by itself."""
    fault, evidence = FAULTS[name]
    with Server(SERVERS[max(SERVERS)]) as server, Proxy(server.port) as link:
        scene = Scene(server, link, random.Random(name))
        async with cache_at(link.url, l1_max_entries=0) as cache:
            await filled(cache)
            before, connects = cache.stats, link.connects
            with fault(scene) as again:
                tally = await together(cache, size, between=again)
                stats = cache.stats
            _note(record, name, tally)
            struck = {
                "errors": sum(stats.backend_errors.values()) - sum(before.backend_errors.values()),
                "rejected": sum(stats.rejected.values()) - sum(before.rejected.values()),
                "computed": tally.factory_calls,
                "connects": link.connects - connects,
            }
            assert struck[evidence] > 0, stats
            await until(lambda: cache.stats.pending == 0)
            await _in_use_again(cache)
            if name != "newer versions":  # what a newer version wrote is not overwritten
                for number in range(KEYS):
                    assert (await cache.lookup(request(number), lambda n=number: _later(n))).value == answer(number)  # type: ignore[misc] # mypy infers no default of a lambda


async def _later(number: int) -> dict[str, Any]:
    return answer(number)


UNREACHABLE = {
    "no such host": "redis://no-such-host.invalid:6379/0",
    "nobody listens": f"redis://127.0.0.1:{free_port()}/0",
    "no route": "redis://255.255.255.255:6379/0",
    "no such socket": "unix:///no/such/socket",
    "plain server asked for TLS": "rediss://127.0.0.1:{port}/0",
    "no such user": "redis://nobody:wrong@127.0.0.1:{port}/0",
    "no such database": "redis://127.0.0.1:{port}/77",
}


@sizes(80, 1000)
@pytest.mark.parametrize("name", UNREACHABLE)
async def test_store_that_cannot_be_reached(name: str, size: int, record: Record, any_server: Server) -> None:
    """A cache whose store was never there computes, and only explicit writes raise."""
    async with cache_at(UNREACHABLE[name].format(port=any_server.port)) as cache:
        tally = await together(cache, size)
        _note(record, name, tally)
        assert tally.pending > 0
        assert sum(cache.stats.backend_errors.values()) > 0


@sizes(80, 1000)
async def test_certificate_of_nobody_we_know(size: int, record: Record, tmp_path: Path) -> None:
    """A server whose certificate does not verify gets no request and no password."""
    made = Certificates(tmp_path)
    for program in SERVERS.values():
        if speaks_tls(program):
            port = free_port()
            with Server(program, made.arguments(port)):
                async with cache_at(f"rediss://:secret@127.0.0.1:{port}/0") as cache:
                    tally = await together(cache, size)
                    _note(record, "certificate of nobody we know", tally)
                    assert tally.pending > 0
                    return
    pytest.skip("no server here speaks TLS")


def _deleted(path: Path, chance: random.Random) -> None:
    for file in path.parent.glob("cache.db*"):
        file.unlink(missing_ok=True)


def _truncated(path: Path, chance: random.Random) -> None:
    if path.exists():
        os.truncate(path, chance.randrange(path.stat().st_size + 1))


def _overwritten(path: Path, chance: random.Random) -> None:
    if path.exists():
        with path.open("r+b") as file:
            file.seek(chance.randrange(path.stat().st_size + 1))
            file.write(chance.randbytes(chance.randrange(8192)))


def _log_overwritten(path: Path, chance: random.Random) -> None:
    log = path.with_name("cache.db-wal")
    if log.exists():
        _overwritten(log, chance)


def _replaced(path: Path, chance: random.Random) -> None:
    other = path.with_name("other")
    other.write_text("This is no database.\n" * 100)
    other.replace(path)


FILE_FAULTS = {
    fault.__name__.strip("_").replace("_", " "): fault
    for fault in (_deleted, _truncated, _overwritten, _log_overwritten, _replaced)
}


@sizes(80, 1000)
@pytest.mark.parametrize("name", FILE_FAULTS)
async def test_every_call_is_answered_over_a_bad_file(name: str, size: int, tmp_path: Path, record: Record) -> None:
    """SQLite, and somebody who does to its file what must not be done to it, again and again."""
    path, chance = tmp_path / "cache.db", random.Random(name)
    async with cache_at(f"sqlite:///{path}", l1_max_entries=0) as cache:
        await filled(cache)
        FILE_FAULTS[name](path, chance)
        tally = await together(cache, size, between=lambda: FILE_FAULTS[name](path, chance))
        _note(record, f"SQLite file {name}", tally)
        assert tally.factory_calls > 0, "what was in the file is gone"
        if name == "replaced":
            path.unlink()  # somebody else's file is left alone for as long as it lies there
        await until(lambda: cache.stats.pending == 0)
        await _in_use_again(cache)


@sizes(80, 1000)
async def test_every_call_is_answered_over_a_locked_file(size: int, tmp_path: Path, record: Record) -> None:
    """Another process holds the file all the time."""
    path = tmp_path / "cache.db"
    async with cache_at(f"sqlite:///{path}", l1_max_entries=0) as cache:
        await filled(cache)
        with running(hold_lock, str(path), "write") as (_, pipe):
            assert await asyncio.to_thread(pipe.recv) == "locked"
            tally = await together(cache, size)
            pipe.send("end")
            assert await asyncio.to_thread(pipe.recv) == "released"
        _note(record, "SQLite file locked", tally)
        assert tally.pending > 0
        await until(lambda: cache.stats.pending == 0)
        await _in_use_again(cache)
