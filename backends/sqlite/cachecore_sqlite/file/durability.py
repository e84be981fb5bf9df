"""Which writes wait for the disk, by the option `durability`."""

from __future__ import annotations

import sqlite3
from typing import Final

from cachecore_sqlite.file.open_files import WAL_SUFFIX
from cachecore_sqlite.file.ownership import size_of

_SYNCHRONOUS: Final = {"process": "OFF", "file": "NORMAL", "power": "FULL"}


def synchronous(durability: str) -> str:
    """Return the statement that sets SQLite's `synchronous` for `durability`."""
    return f"PRAGMA synchronous = {_SYNCHRONOUS[durability]}"


def start_wal(connection: sqlite3.Connection, path: str, durability: str) -> None:
    """Begin the empty WAL of `path` without waiting for the disk, as its first write would, and a caller with it.

    SQLite waits there so that no frames of before the start of the WAL are ever read; an empty one has none. The next
    checkpoint waits for the disk.
    """
    if durability != "file" or size_of(path + WAL_SUFFIX):
        return
    connection.execute(synchronous("process"))
    try:
        connection.execute("BEGIN IMMEDIATE")
        if not size_of(path + WAL_SUFFIX):
            (stored,) = connection.execute("PRAGMA user_version").fetchone()
            connection.execute(f"PRAGMA user_version = {stored}")  # the same number: a write of one page
        connection.execute("COMMIT")
    except sqlite3.Error:  # the first write of a caller meets it again, and knows what to do
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    finally:
        connection.execute(synchronous(durability))
