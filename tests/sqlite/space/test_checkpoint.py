"""The log is moved into the file by a thread, and begins anew when all of it is there and nobody reads from it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from cachecore.contract import SystemClock
from cachecore.contract.options import MIB
from cachecore_sqlite import SQLiteOptions
from cachecore_sqlite.file.database import Database
from cachecore_sqlite.space.checkpoint import Wal
from cachecore_sqlite.table.transaction import Transaction
from cachecore_sqlite.threads.checkpointer import Checkpointer


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(str(tmp_path / "cache.db"), SQLiteOptions(max_bytes=16 * MIB))


@contextlib.contextmanager
def _opened(database: Database) -> Iterator[sqlite3.Connection]:
    connection, files = database.connect()
    try:
        yield connection
    finally:
        database.disconnect(connection, files)


def _write(connection: sqlite3.Connection, pages: int) -> None:
    connection.execute("INSERT INTO changes(keys) VALUES (?)", ("k" * 4096 * pages,))


def _pages(connection: sqlite3.Connection) -> int:
    """Return how many pages the wal holds."""
    pages: int = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1]
    return pages


def test_log_begins_anew_when_nobody_reads_from_it(database: Database) -> None:
    """Beside a reader it goes on, whatever was moved; without, the next write is at its beginning."""
    checkpointer = Checkpointer(database, SystemClock())
    wal = Wal(database, checkpointer)
    checkpointer.start()
    with _opened(database) as connection, _opened(database) as reader:
        _write(connection, 100)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM changes").fetchone()
        _write(connection, 1)
        assert not wal.restart(connection, 0.0)
        _write(connection, 1)
        checkpointer.idle.wait()
        assert _pages(connection) > 100
        reader.execute("COMMIT")
        while not wal.restart(connection, 0.0):  # the disk may take longer than writers are kept out
            checkpointer.idle.wait()
        _write(connection, 1)
        assert 0 < _pages(connection) < 10
        checkpointer.jobs.put(None)
        checkpointer.join(60)


def test_log_goes_on_while_another_process_writes(database: Database) -> None:
    """To begin it anew nobody is waited for who holds the lock."""
    wal = Wal(database, Checkpointer(database, SystemClock()))
    with _opened(database) as connection, _opened(database) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            wal.restart(connection, 1.0)
        other.execute("ROLLBACK")


def test_what_other_processes_write_counts(database: Database) -> None:
    """The log of changes tells how much that is: with nine others a tenth has to be written here."""
    moved_after = {}
    for processes in (1, 10):
        checkpointer = Checkpointer(database, SystemClock())
        wal = Wal(database, checkpointer)
        seq = number = 0
        with _opened(database) as connection:
            while checkpointer.idle.is_set():
                number += 1
                seq += 70 * processes
                wal.record(1700, 0, 70, seq)
                wal.maintain(connection)
        moved_after[processes] = number
    assert moved_after[1] > 20
    assert moved_after[10] <= moved_after[1] / 10 + 2  # of the first one nothing is known yet, and the last goes over


def test_what_goes_counts_a_page_each(database: Database) -> None:
    """It is found anywhere in the file, so a transaction that replaces or deletes much makes the wal longer."""
    wal = Wal(database, Checkpointer(database, SystemClock()))
    wal.record(1000, 0, 70, 70)
    before = wal.written
    wal.record(1000, 50, 70, 140)
    assert wal.written - 2 * before == 50 * 4096


@pytest.mark.parametrize("ask", ["put", "drop"])
def test_a_transaction_tells_what_went(connection: sqlite3.Connection, ask: str) -> None:
    """Of the keys that it writes or deletes, those that had a row."""
    first = Transaction(connection, 0.0, 1 << 20)
    first.put({f"k{number}": b"v" for number in range(20)}, None)
    first.flush()
    assert first.deleted_rows == 0
    second = Transaction(connection, 0.0, 1 << 20)
    if ask == "put":
        second.put({f"k{number}": b"w" for number in range(10, 30)}, None)
    else:
        second.drop([f"k{number}" for number in range(10, 30)])
    second.flush()
    assert second.deleted_rows == 10
