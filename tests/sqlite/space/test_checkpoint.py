"""A thread checkpoints the WAL, which restarts when all of it is copied and no reader uses it."""

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
    """Return the number of pages in the WAL."""
    pages: int = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1]
    return pages


def test_log_begins_anew_when_nobody_reads_from_it(database: Database) -> None:
    """Beside a reader the WAL continues after a checkpoint; without one the next write is at its start."""
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
        while not wal.restart(connection, 0.0):  # the disk may take longer than writers are locked out
            checkpointer.idle.wait()
        _write(connection, 1)
        assert 0 < _pages(connection) < 10
        checkpointer.jobs.put(None)
        checkpointer.join(60)


def test_log_goes_on_while_another_process_writes(database: Database) -> None:
    """A restart does not wait for a process that holds the write lock."""
    wal = Wal(database, Checkpointer(database, SystemClock()))
    with _opened(database) as connection, _opened(database) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            wal.restart(connection, 1.0)
        other.execute("ROLLBACK")


def test_what_other_processes_write_counts(database: Database) -> None:
    """The change log shows their share: beside nine others, a tenth of the writes here starts the checkpoint."""
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
    # The first write shows no share yet, and the last one passes the threshold
    assert moved_after[10] <= moved_after[1] / 10 + 2


def test_what_goes_counts_a_page_each(database: Database) -> None:
    """Deleted rows are spread over the file, so each one counts as a page of the WAL."""
    wal = Wal(database, Checkpointer(database, SystemClock()))
    wal.record(1000, 0, 70, 70)
    before = wal.written
    wal.record(1000, 50, 70, 140)
    assert wal.written - 2 * before == 50 * 4096


@pytest.mark.parametrize("ask", ["put", "drop"])
def test_a_transaction_tells_what_went(connection: sqlite3.Connection, ask: str) -> None:
    """The count is that of the written or deleted keys that had a row."""
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
