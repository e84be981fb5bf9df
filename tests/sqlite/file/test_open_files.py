"""Open files of this process: its locks are kept, and each WAL stays with its database."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest

from cachecore.contract import BackendUnavailable
from cachecore_sqlite import FileRefused, SQLiteBackend, SQLiteOptions
from cachecore_sqlite.file import open_files
from cachecore_sqlite.file.database import Database
from cachecore_sqlite.file.errors import WalDeleted
from cachecore_sqlite.file.open_files import Files, Inode
from cachecore_sqlite.table.transaction import Transaction

PROBE = """
import fcntl, sys
for line in sys.stdin:
    with open(line.strip() + "-shm", "r+b") as index:
        try:
            fcntl.lockf(index, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 128)
            print("nobody has it open", flush=True)
        except BlockingIOError:
            print("open", flush=True)
"""

FORK = """
import os, sys
from cachecore_sqlite import SQLiteOptions
from cachecore_sqlite.file import open_files
from cachecore_sqlite.file.database import Database
database = Database(sys.argv[1], SQLiteOptions())
held = database.connect()
ours, theirs = os.pipe()
open_files._lock.acquire()
child = os.fork()
if child:
    open_files._lock.release()
    database.disconnect(*held)
    os.write(theirs, b"closed")
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
else:
    os.read(ours, 6)
    again = Database(sys.argv[1], SQLiteOptions())
    again.disconnect(*again.connect())
    os._exit(7)
"""


@pytest.fixture
def probe() -> Iterator[Callable[[Path], str]]:
    """Return a function that asks another process whether any process has a file open."""
    command = [sys.executable, "-c", PROBE]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        asked, told = process.stdin, process.stdout
        assert asked is not None
        assert told is not None

        def ask(path: Path) -> str:
            print(path, file=asked, flush=True)
            return told.readline().strip()

        yield ask
        asked.close()


async def test_two_backends_that_open_a_file_at_once_keep_their_locks(
    tmp_path: Path, probe: Callable[[Path], str]
) -> None:
    """The locks tell other processes that the file is open; without them, the next one would cut off the WAL index."""
    path = tmp_path / "cache.db"
    first = SQLiteBackend(path)
    await first.set_many({"k": b"v"}, ttl=None)
    await first.aclose()
    told = set()
    for _ in range(100):
        backends = [SQLiteBackend(path, options=SQLiteOptions(timeout=20.0)) for _ in range(2)]
        together = threading.Barrier(2)

        def read(backend: SQLiteBackend, together: threading.Barrier = together) -> list[bytes | None]:
            async def get() -> list[bytes | None]:
                return await backend.get_many(["k"])

            together.wait()
            return asyncio.run(get())

        assert await asyncio.gather(*(asyncio.to_thread(read, one) for one in backends)) == [[b"v"]] * 2
        told.add(await asyncio.to_thread(probe, path))
        for one in backends:
            await one.aclose()
    assert told == {"open"}


def test_a_connection_is_counted_before_it_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise of `Database._open`'s caller: no thread reads the WAL index between count and opening, or the reverse."""
    database = Database(str(tmp_path / "cache.db"), SQLiteOptions())
    calls: list[object] = []
    open_ = Database._open

    def watched(self: Database, mode: Literal["rw", "rwc"], expected: Inode | None) -> object:
        calls.append(open_files.unless_connected(open_files.inode_of(self.path), open_files._lock.locked))
        return open_(self, mode, expected)

    monkeypatch.setattr(Database, "_open", watched)
    connection, files = database.connect()
    assert calls == [True, None]  # the first call creates the file, while all others wait for Database's lock
    database.disconnect(connection, files)
    assert open_files.unless_connected(open_files.inode_of(database.path), lambda: "alone") == "alone"


def test_a_connection_that_fails_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: a failed opening is uncounted; otherwise this process would never check the WAL again."""
    database = Database(str(tmp_path / "cache.db"), SQLiteOptions())
    database.disconnect(*database.connect())
    open_ = Database._open

    def failing(self: Database, mode: Literal["rw", "rwc"], expected: Inode | None) -> object:
        if mode == "rw":
            raise MemoryError
        return open_(self, mode, expected)

    monkeypatch.setattr(Database, "_open", failing)
    with pytest.raises(MemoryError):
        database.connect()
    assert open_files.unless_connected(open_files.inode_of(database.path), lambda: "alone") == "alone"


def test_the_only_connection_to_a_replaced_file_takes_its_log_along(tmp_path: Path) -> None:
    """The WAL goes before the connection: afterwards its owner is unknown, and the new file would get it."""
    path = tmp_path / "cache.db"
    database, other = Database(str(path), SQLiteOptions()), Database(str(tmp_path / "other.db"), SQLiteOptions())
    other.disconnect(*other.connect())
    connection, files = database.connect()
    assert files is not None
    assert database.is_current(files)
    _log(connection, "first")
    os.replace(other.path, path)
    assert not database.is_current(files)
    database.disconnect(connection, files)
    connection, files = database.connect()
    assert connection.execute("SELECT keys FROM changes").fetchall() == [("",)]
    database.disconnect(connection, files)


def test_nothing_is_opened_beside_a_connection_whose_log_is_gone(tmp_path: Path) -> None:
    """A second connection would read a state older than the acknowledged writes."""
    database = Database(str(tmp_path / "cache.db"), SQLiteOptions())
    connection, files = database.connect()
    _log(connection, "acknowledged")
    os.unlink(database.path + open_files.WAL_SUFFIX)
    second = Database(database.path, SQLiteOptions())
    with pytest.raises(WalDeleted):
        second.connect()
    database.disconnect(connection, files)


def test_a_log_that_goes_with_the_last_connection_is_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise of `mark_closing`: afterwards a missing WAL is no damage, because SQLite deletes it with the last
    connection."""
    database = Database(str(tmp_path / "cache.db"), SQLiteOptions())
    first, second = database.connect(), database.connect()
    others: list[tuple[sqlite3.Connection, Files | None]] = []
    closing, disconnected = open_files.mark_closing, open_files.remove_connection
    there = []

    def watched(inode: Inode) -> None:
        there.append(open_files.inode_of(database.path + open_files.WAL_SUFFIX) is not None)
        closing(inode)

    def open_another_first(inode: Inode) -> None:
        if open_files.inode_of(database.path + open_files.WAL_SUFFIX) is None:
            others.append(database.connect())
        disconnected(inode)

    monkeypatch.setattr(open_files, "mark_closing", watched)
    monkeypatch.setattr(open_files, "remove_connection", open_another_first)
    database.disconnect(*first)
    database.disconnect(*second)
    assert there == [True, True]
    ((connection, files),) = others
    assert files is not None
    assert database.is_current(files)
    monkeypatch.undo()
    database.disconnect(connection, files)


def test_a_child_process_knows_nothing_of_what_its_parent_has_open(tmp_path: Path) -> None:
    """After a fork during a close, the child is not misled by records of the parent's connections."""
    command = [sys.executable, "-c", FORK, str(tmp_path / "cache.db")]
    told = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert told.stdout == "7\n", told.stderr
    assert not list(tmp_path.glob("*.damaged-*"))


def test_no_connection_is_closed_while_the_log_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise of `check_wal` and `has_foreign_wal`: both hold the lock, so the WAL is not deleted meanwhile."""
    database = Database(str(tmp_path / "cache.db"), SQLiteOptions())
    connection, files = database.connect()
    assert files is not None
    look = open_files.inode_of
    held = []

    def watched(path: str) -> Inode | None:
        held.append(open_files._lock.locked())
        return look(path)

    monkeypatch.setattr(open_files, "inode_of", watched)
    open_files.check_wal(database.path, files.database)
    assert not open_files.has_foreign_wal(database.path, files.database)
    assert held == [True] * 3
    database.disconnect(connection, files)


def test_a_log_that_is_moved_with_its_file_is_not_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise of `is_current`: another process may move both files between the looks at the one and at the other."""
    database = Database(str(tmp_path / "cache.db"), SQLiteOptions())
    connection, files = database.connect()
    assert files is not None
    look = open_files.inode_of

    def move_and_look(path: str) -> Inode | None:
        if path.endswith(open_files.WAL_SUFFIX) and look(database.path) is not None:
            for suffix in ("", open_files.WAL_SUFFIX):
                os.rename(database.path + suffix, f"{database.path}.aside{suffix}")
        return look(path)

    monkeypatch.setattr(open_files, "inode_of", move_and_look)
    assert not open_files.is_current(database.path, files)
    database.disconnect(connection, files)


def test_whose_a_file_is_is_asked_again_once_nobody_has_it_open(tmp_path: Path) -> None:
    """After the last close another file may have the same inode, so ownership is checked again by every backend."""
    path = tmp_path / "cache.db"
    databases = [Database(str(path), SQLiteOptions()) for _ in range(2)]
    opened_by = [(database, *database.connect()) for database in databases]
    for database, connection, files in opened_by:
        database.disconnect(connection, files)
    path.write_bytes(b"somebody's notes\n" * 500)
    for database in databases:
        with pytest.raises(FileRefused):
            database.connect()


async def test_what_is_committed_into_a_file_that_is_gone_is_not_acknowledged(tmp_path: Path) -> None:
    """The file is deleted during the transaction, by a write that only the pool can submit."""
    path = tmp_path / "cache.db"
    backend = SQLiteBackend(path)
    await backend.set_many({"k": b"v"}, ttl=60)

    def write(transaction: Transaction) -> None:
        transaction.put({"k2": b"v"}, transaction.now + 60)
        path.unlink()

    with pytest.raises(BackendUnavailable) as raised:
        await backend._pool.write("set_many", write)
    assert raised.value.reason == "moved"
    await backend.aclose()


def _log(connection: sqlite3.Connection, keys: str) -> None:
    connection.execute("INSERT INTO changes(keys) VALUES (?)", (keys,))
