"""Forks, event loops, threads and closing: every call is answered once, on its own loop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from cachecore.contract import BackendUnavailable
from cachecore_sqlite import SQLiteBackend, SQLiteOptions
from cachecore_sqlite.table import rows
from cachecore_sqlite.table.transaction import Transaction
from cachecore_sqlite.threads import pool
from tests.sqlite.children import fork_many, running


async def test_forks_share_nothing_open(tmp_path: Path) -> None:
    """Thirty forks during traffic: parent and child read right values, from the file and on new connections."""
    with running(fork_many, str(tmp_path / "cache.db"), 30) as (_, pipe):
        assert await asyncio.to_thread(pipe.recv) == (30 * 100, 0)
    assert sorted(os.listdir(tmp_path)) == ["cache.db", "cache.db-reserve"]


FORK_WHILE_CLOSING = """
import asyncio, contextlib, os, sys, threading
from cachecore_sqlite import SQLiteBackend
from cachecore_sqlite.file.database import Database
closing, exclusive_close = threading.Event(), Database.exclusive_close

@contextlib.contextmanager
def telling(self):
    with exclusive_close(self):
        closing.set()
        yield

Database.exclusive_close = telling

async def use(backend):
    await backend.set_many({f"k{number}": bytes(30_000) for number in range(200)}, ttl=60)
    await backend.aclose()

thread = threading.Thread(target=lambda: asyncio.run(use(SQLiteBackend(sys.argv[1]))))
thread.start()
closing.wait()
child = os.fork()
if not child:
    fds = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    names = [os.readlink(fd) for fd in fds if os.path.exists(fd) or os.path.islink(fd)]
    os._exit(any(name.startswith(os.path.dirname(sys.argv[1])) for name in names))
thread.join()
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs a list of what is open")
def test_fork_while_a_backend_is_being_closed(tmp_path: Path) -> None:
    """Promise of `exclusive_close`: a fork waits for the close; otherwise the child would keep its locks for life."""
    for number in range(5):
        command = [sys.executable, "-c", FORK_WHILE_CLOSING, str(tmp_path / f"{number}.db")]
        told = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
        assert told.stdout == "0\n", told.stderr


def test_one_backend_serves_a_hundred_event_loops(tmp_path: Path) -> None:
    """Loops that come and go, each with its own calls."""
    backend = SQLiteBackend(tmp_path / "cache.db")

    async def use(number: int) -> None:
        await backend.set_many({f"k{number}": b"%d" % number}, ttl=60)
        assert await backend.get_many([f"k{number}", f"k{number - 1}"]) == [
            b"%d" % number,
            b"%d" % (number - 1) if number else None,
        ]

    for number in range(100):
        asyncio.run(use(number))
    asyncio.run(backend.aclose())
    assert sorted(os.listdir(tmp_path)) == ["cache.db", "cache.db-reserve"]


def test_loops_in_threads_share_one_backend(tmp_path: Path) -> None:
    """Four loops in four threads at once."""
    backend = SQLiteBackend(tmp_path / "cache.db")
    errors: list[BaseException] = []

    async def use(name: int) -> None:
        for number in range(50):
            await backend.set_many({f"{name}:{number}": b"%d" % name}, ttl=60)
            got = await asyncio.gather(*(backend.get_many([f"{name}:{number}"]) for _ in range(4)))
            assert got == [[b"%d" % name]] * 4

    def run(name: int) -> None:
        try:
            asyncio.run(use(name))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asyncio.run(backend.aclose())
    assert errors == []


async def test_event_loop_is_never_held_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While megabytes are written and read, the loop keeps turning: here write and read wait for ten turns of it."""
    backend = SQLiteBackend(tmp_path / "cache.db")
    turned, waited = threading.Event(), list[str]()

    def behind_the_loop(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def waiting(*arguments: Any) -> Any:
            assert turned.wait(60)
            waited.append(name)
            return work(*arguments)

        return waiting

    async def turn() -> None:
        for _ in range(10):
            await asyncio.sleep(0)
        turned.set()

    monkeypatch.setattr(Transaction, "put", behind_the_loop("put", Transaction.put))
    monkeypatch.setattr(rows, "read", behind_the_loop("read", rows.read))
    items = {f"k{number}": bytes(8_000_000) for number in range(4)}
    await asyncio.gather(backend.set_many(items, ttl=60), turn())
    turned.clear()
    found, _ = await asyncio.gather(backend.get_many(list(items)), turn())
    assert found == list(items.values())
    assert waited == ["put"] * 4 + ["read"]
    await backend.aclose()


async def test_nothing_happens_before_the_first_call(tmp_path: Path) -> None:
    """Building and closing create no file, folder or thread; the first call creates a missing folder."""
    before = set(threading.enumerate())  # those of an earlier test may be ending
    backend = SQLiteBackend(tmp_path / "folder" / "cache.db")
    assert set(threading.enumerate()) <= before
    assert os.listdir(tmp_path) == []
    await backend.get_many(["k"])
    assert os.listdir(tmp_path) == ["folder"]
    await backend.aclose()
    assert not [one for one in threading.enumerate() if "cachecore-sqlite" in one.name and one not in before]
    with pytest.raises(BackendUnavailable) as raised:
        await backend.set_many({"k": b"v"}, ttl=1)
    assert raised.value.reason == "closed"


async def test_dropped_backend_ends_its_threads(tmp_path: Path) -> None:
    """Without `aclose`, garbage collection ends the threads and checkpoints the WAL."""
    backend = SQLiteBackend(tmp_path / "cache.db")
    await backend.set_many({"k": b"v"}, ttl=60)
    assert "cache.db-wal" in os.listdir(tmp_path)
    del backend
    gc.collect()
    limit = time.monotonic() + 60
    while sorted(os.listdir(tmp_path)) != ["cache.db", "cache.db-reserve"]:
        assert time.monotonic() < limit
        await asyncio.sleep(0.01)


async def test_calls_under_way_are_answered_before_closing(tmp_path: Path) -> None:
    """Closing waits for earlier calls."""
    backend = SQLiteBackend(tmp_path / "cache.db")
    await backend.get_many(["k"])
    calls = [asyncio.ensure_future(backend.set_many({f"k{number}": b"v"}, ttl=60)) for number in range(300)]
    await asyncio.sleep(0)
    await backend.aclose()
    assert await asyncio.gather(*calls) == [None] * 300
    again = SQLiteBackend(tmp_path / "cache.db")
    assert await again.get_many([f"k{number}" for number in range(300)]) == [b"v"] * 300
    await again.aclose()


async def test_one_wrong_value_harms_no_other_call(tmp_path: Path) -> None:
    """Of calls that share a transaction, only those with a value that is not bytes fail; the others are stored."""
    backend = SQLiteBackend(tmp_path / "cache.db")
    await backend.get_many(["k"])
    items: list[dict[str, Any]] = [{f"k{number}": b"v" if number % 7 else object()} for number in range(40)]
    results = await asyncio.gather(*(backend.set_many(item, ttl=60) for item in items), return_exceptions=True)
    assert [type(result) for result in results] == [type(None) if number % 7 else TypeError for number in range(40)]
    found = await backend.get_many([f"k{number}" for number in range(40)])
    assert found == [b"v" if number % 7 else None for number in range(40)]
    await backend.aclose()


@pytest.mark.parametrize("bad", [("k", object()), ("\ud800", None), (7, None)], ids=["value", "text", "type"])
async def test_one_wrong_swap_harms_no_other_call(tmp_path: Path, bad: tuple[Any, Any]) -> None:
    """A failing prefetch, which all swaps share, fails one call; it once hung the writer for good."""
    backend = SQLiteBackend(tmp_path / "cache.db")
    await backend.set_many({"k": b"v"}, ttl=60)
    calls = [
        backend.swap(*bad, b"new", ttl=60),
        *(backend.swap(f"k{number}", None, b"v", ttl=60) for number in range(9)),
    ]
    refused, *swapped = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 60)
    assert isinstance(refused, Exception)
    assert swapped == [True] * 9
    await backend.aclose()


async def test_one_wrong_key_harms_no_other_read(tmp_path: Path) -> None:
    backend = SQLiteBackend(tmp_path / "cache.db")
    await backend.set_many({"k": b"v"}, ttl=60)
    calls = [backend.get_many(["\ud800" if number == 5 else "k"]) for number in range(10)]
    found = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(found.pop(5), UnicodeEncodeError)
    assert found == [[b"v"]] * 9
    await backend.aclose()


async def test_calls_of_a_closed_backend_fail_where_they_are_awaited(tmp_path: Path) -> None:
    """All calls fail alike, those without keys too: `gather` can tell them from successful ones."""
    backend = SQLiteBackend(tmp_path / "cache.db")
    await backend.set_many({"k": b"v"}, ttl=60)
    await backend.aclose()
    calls: list[Awaitable[Any]] = [
        backend.get_many(["k"]),
        backend.get_many([]),
        backend.set_many({"k": b"v"}, ttl=60),
        backend.set_many({}, ttl=60),
        backend.delete_many(["k"]),
        backend.delete_many([]),
        backend.swap("k", None, b"v", ttl=60),
    ]
    errors = await asyncio.gather(*calls, return_exceptions=True)
    assert [getattr(error, "reason", error) for error in errors] == ["closed"] * len(calls)


async def test_fork_that_cannot_wait_for_a_statement_leaves_the_writer_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise of `before_fork`: it waits for a statement up to `_FORK_SECONDS`, and the writer works afterwards."""
    monkeypatch.setattr(pool, "_FORK_SECONDS", 0.05)
    backend = SQLiteBackend(tmp_path / "cache.db", options=SQLiteOptions(timeout=20))
    await backend.set_many({"k": b"v"}, ttl=60)
    with contextlib.closing(sqlite3.connect(backend.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        waiting = backend.set_many({"k": b"waited"}, ttl=60)
        held = backend._pool._workers[0].at_work
        while held.acquire(blocking=False):  # until the writer waits for SQLite's lock
            held.release()
            await asyncio.sleep(0.001)
        child = os.fork()
        if child == 0:
            os._exit(0)
        await asyncio.to_thread(os.waitpid, child, 0)
        other.execute("COMMIT")
    await waiting
    await backend.set_many({"k": b"after"}, ttl=60)
    assert await backend.get_many(["k"]) == [b"after"]
    await backend.aclose()
