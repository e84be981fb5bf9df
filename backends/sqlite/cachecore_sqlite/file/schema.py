"""The tables, their version, and the marks by which a file is recognized as a cache.

`entries.id` grows with each write, so it is the age of an entry, and eviction finds the oldest without an index of its
own. The table is not WITHOUT ROWID, because values are large and each step of a search would read past them.

Entries are found by a 64-bit hash of their key, `entries.key_hash`, through the index in the tables `recent` and
`places` (see table/index.py). It is a fifth as long as an index of the keys, and so is its share of the WAL. Every
read, delete and comparison checks the key itself. Of two keys with one hash only the later one is stored: a miss for
the other, never its value. A cache of a million entries holds such a pair with a probability of one in 37 million. Keys
are not indexed by prefix: a scan reads all entries in the order of `id`.

`changes` is the change log of the feed: one row per transaction, with the changed keys one a line (keys never hold a
newline). `seq` counts the bytes ever logged, so that the log can be kept to a size. Only the oldest rows are removed: a
reader that does not find the row that it read last has missed changes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Final

from cachecore_sqlite.file.errors import corrupt_error

APPLICATION_ID: Final = 0x6363_5351  # "ccSQ"
VERSION: Final = 2
PAGE_BYTES: Final = 4096
MARK: Final = "cachecore-sqlite:7d1f6c0e-5a0b-4a53-9d53-0d7c2e8f6b1a"
"""Written in the schema and in a row, so that a damaged cache file is still recognized."""

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
    # Version 1 had `hash INTEGER NOT NULL UNIQUE` instead of `key_hash`, and neither `recent` nor `places`.
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
"""By version, the statements that lead to the next one. The resulting tables are word for word those of `create`: a
changed table is renamed, created and copied. A column with a new meaning gets a new name, so that a process of the
older version that has the file open fails, sees the newer version and leaves the file alone."""


def packed(version: int) -> int:
    """Return `version` as the file holds it: twice, so that a flipped bit does not look like a newer version."""
    return version << 16 | version


def unpacked(stored: int) -> int | None:
    """Return the version of a number made by `packed`, None for any other number."""
    version = stored & 0xFFFF
    return version if version and stored >> 16 == version else None


def create(connection: sqlite3.Connection) -> None:
    """Create the tables in an empty database; the caller holds a transaction."""
    for statement in _TABLES:
        connection.execute(statement)
    connection.execute("INSERT INTO mark VALUES (? || ' ' || hex(randomblob(16)))", (MARK,))
    connection.execute("INSERT INTO changes VALUES (1, '')")  # the change log is never empty
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {packed(VERSION)}")


def version(connection: sqlite3.Connection) -> int | None:
    """Return the version of the tables, None if the number is damaged."""
    (stored,) = connection.execute("PRAGMA user_version").fetchone()
    return unpacked(stored)


def migrate(connection: sqlite3.Connection, stored: int) -> None:
    """Migrate tables of version `stored` to `VERSION`, step by step; the caller holds a transaction."""
    for step in range(stored, VERSION):
        for statement in _STEPS.get(step, ()):
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {packed(VERSION)}")


def identity(connection: sqlite3.Connection) -> str:
    """Return the unique identity of this database; a file that replaces it has another."""
    (text,) = connection.execute("SELECT text FROM mark").fetchone()
    return str(text)


def is_sound(connection: sqlite3.Connection) -> bool:
    """Tell whether the schema is word for word the one of `create`."""
    found = {sql for (sql,) in connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")}
    return found == set(_TABLES)


def check(connection: sqlite3.Connection) -> None:
    """Check the order of the index. Raises `sqlite3.DatabaseError`.

    A row out of order hides others: their entries would survive their deletion, and reappear when the row goes. The
    check takes 40 ns per entry, or as long as the disk takes to read the index.
    """
    for table in ("recent", "places"):
        (report,) = connection.execute(f"PRAGMA quick_check('{table}')").fetchone()
        if report != "ok":
            raise corrupt_error(f"the index of the entries is not in order: {' '.join(report.split())}")


def is_empty(connection: sqlite3.Connection) -> bool:
    """Tell whether the database has no tables."""
    return connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None
