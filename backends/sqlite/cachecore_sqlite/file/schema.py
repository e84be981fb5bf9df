"""The tables, the version written into the file, and how a file is known to be ours.

`entries.id` grows with each write, so it is the age of an entry: the oldest are found without an index of their own. It
is not WITHOUT ROWID, because values are large: each step of a search would pass them by.

Entries are found by a 64-bit hash of their key, `entries.key_hash`, by way of `recent` and `places` (see places.py): a
fifth as long as an index of the keys themselves, and so is what the log takes for it. Every read, delete and comparison
checks the key itself. Of two keys with one hash only the one written last is there: a miss for the other, never its
value. A cache of a million entries has such a pair with a chance of one in 37 million. Nothing finds keys by their
beginning: who asks for those passes all entries by, in the order of `id`.

`changes` is the log that the feed reads: one row per transaction, the changed keys one a line (keys never hold a
newline). `seq` counts the bytes ever logged, so that the log can be kept to a size. It is cut off at the old end only:
a reader that does not find what it read last knows that it has missed something.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Final

from cachecore_sqlite.file.errors import damaged

APPLICATION_ID: Final = 0x6363_5351  # "ccSQ"
VERSION: Final = 2
PAGE_BYTES: Final = 4096
MARK: Final = "cachecore-sqlite:7d1f6c0e-5a0b-4a53-9d53-0d7c2e8f6b1a"
"""Stands in the schema and in a row, so that a damaged file of ours is still told from somebody else's."""

_ENTRIES: Final = """CREATE TABLE entries(
    id INTEGER PRIMARY KEY,
    key_hash INTEGER NOT NULL,
    key TEXT NOT NULL,
    deadline REAL,
    checksum INTEGER NOT NULL,
    value BLOB NOT NULL
)"""
_DEADLINES: Final = "CREATE INDEX entries_deadline ON entries(deadline) WHERE deadline IS NOT NULL"
_RECENT: Final = "CREATE TABLE recent(hash INTEGER PRIMARY KEY, id INTEGER NOT NULL)"
_PLACES: Final = "CREATE TABLE places(hash INTEGER PRIMARY KEY, id INTEGER NOT NULL)"
_TABLES: Final = (
    f"CREATE TABLE mark(text TEXT NOT NULL /* {MARK} */)",
    _ENTRIES,
    _DEADLINES,
    _RECENT,
    _PLACES,
    "CREATE TABLE changes(seq INTEGER PRIMARY KEY, keys TEXT NOT NULL)",
)

_STEPS: Mapping[int, Sequence[str]] = {
    # Version 1 had `hash INTEGER NOT NULL UNIQUE` in the place of `key_hash`, and neither `recent` nor `places`.
    1: (
        "DROP INDEX entries_deadline",
        "ALTER TABLE entries RENAME TO entries_before",
        _ENTRIES,
        "INSERT INTO entries SELECT id, hash, key, deadline, checksum, value FROM entries_before ORDER BY id",
        "DROP TABLE entries_before",
        _DEADLINES,
        _RECENT,
        _PLACES,
        "INSERT INTO places SELECT key_hash, id FROM entries ORDER BY key_hash",
    ),
}
"""By version, the statements that lead from it to the next. They leave the tables word for word as `create` makes them:
what changes is renamed, made anew and copied. A column whose meaning changes gets a new name, so that a process of the
older version that has the file open fails, finds the newer version and leaves the file alone."""


def packed(version: int) -> int:
    """Return `version` as it stands in the file: twice, so that a flipped bit does not pass for a newer version."""
    return version << 16 | version


def unpacked(stored: int) -> int | None:
    """Return the version that `packed` made `stored` of, or None if it did not."""
    version = stored & 0xFFFF
    return version if version and stored >> 16 == version else None


def create(connection: sqlite3.Connection) -> None:
    """Make the tables in an empty database; the caller holds a transaction."""
    for statement in _TABLES:
        connection.execute(statement)
    connection.execute("INSERT INTO mark VALUES (? || ' ' || hex(randomblob(16)))", (MARK,))
    connection.execute("INSERT INTO changes VALUES (1, '')")  # so that the log is never empty
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {packed(VERSION)}")


def version(connection: sqlite3.Connection) -> int | None:
    """Return the version of the tables, None if the number is damaged."""
    (stored,) = connection.execute("PRAGMA user_version").fetchone()
    return unpacked(stored)


def migrate(connection: sqlite3.Connection, stored: int) -> None:
    """Lead tables of version `stored` to this version, step by step; the caller holds a transaction."""
    for step in range(stored, VERSION):
        for statement in _STEPS.get(step, ()):
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {packed(VERSION)}")


def identity(connection: sqlite3.Connection) -> str:
    """Return what tells this database from any other, one that took its place included."""
    (text,) = connection.execute("SELECT text FROM mark").fetchone()
    return str(text)


def is_sound(connection: sqlite3.Connection) -> bool:
    """Tell whether the schema is word for word the one that `create` makes."""
    found = {sql for (sql,) in connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")}
    return found == set(_TABLES)


def check(connection: sqlite3.Connection) -> None:
    """Look whether the places of the entries are in order. Raises `sqlite3.DatabaseError`.

    One out of order hides others: their entries would outlive their deletion, and be found again when it goes. It takes
    40 ns for each entry, or as long as the disk takes for their places.
    """
    for table in ("recent", "places"):
        (told,) = connection.execute(f"PRAGMA quick_check('{table}')").fetchone()
        if told != "ok":
            raise damaged(f"what finds entries is not in order: {' '.join(told.split())}")


def is_empty(connection: sqlite3.Connection) -> bool:
    """Tell whether the database holds nothing at all."""
    return connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None
