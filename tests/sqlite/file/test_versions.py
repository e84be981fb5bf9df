"""Files of older versions are migrated with all their entries; newer ones are refused."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from cachecore.contract import BackendError
from cachecore_sqlite import FileRefused, SQLiteBackend
from cachecore_sqlite.file import schema

STORED = {f"k{number}": b"%d" % number * 500 for number in range(300)}


async def _store(path: Path) -> None:
    backend = SQLiteBackend(path)
    await backend.set_many(STORED, ttl=60)
    await backend.aclose()


def _become_next(patch: pytest.MonkeyPatch, *, broken: Sequence[str] = ()) -> None:
    """Patch the schema to a possible next version: one more column, and a step that leads to it."""
    tables = tuple(table.replace("deadline REAL,", "deadline REAL,\n    owner TEXT,") for table in schema._TABLES)
    step = (
        "DROP INDEX entries_deadline",
        "ALTER TABLE entries RENAME TO before",
        *tables[1:3],
        "INSERT INTO entries SELECT id, key_hash, key, deadline, NULL, checksum, value FROM before",
        "DROP TABLE before",
        *broken,
    )
    patch.setattr(schema, "_STEPS", {schema.VERSION: step})
    patch.setattr(schema, "_TABLES", tables)
    patch.setattr(schema, "VERSION", schema.VERSION + 1)


def _version(path: Path) -> int | None:
    connection = sqlite3.connect(path)
    try:
        return schema.version(connection)
    finally:
        connection.close()


def _moved_aside(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if "damaged" in name]


async def test_older_file_is_migrated_with_all_it_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise of `schema._STEPS`: the next version reads, scans and writes these entries; no file is moved."""
    path = tmp_path / "cache.db"
    await _store(path)
    _become_next(monkeypatch)
    backend = SQLiteBackend(path)
    assert await backend.get_many(list(STORED)) == list(STORED.values())
    assert sorted([key async for page in backend.scan("k") for key in page]) == sorted(STORED)
    await backend.set_many({"k0": b"new"}, ttl=60)
    assert await backend.get_many(["k0"]) == [b"new"]
    await backend.aclose()
    assert _version(path) == schema.VERSION
    assert sorted(os.listdir(tmp_path)) == ["cache.db", "cache.db-reserve"]


async def test_migration_that_fails_leaves_the_older_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise of the migration's transaction: all or nothing; the older version still finds every entry."""
    path = tmp_path / "cache.db"
    await _store(path)
    with monkeypatch.context() as patch:
        _become_next(patch, broken=["INSERT INTO nowhere VALUES (1)"])
        backend = SQLiteBackend(path)
        with pytest.raises(BackendError):
            await backend.get_many(["k1"])
        await backend.aclose()
    assert _version(path) == schema.VERSION
    backend = SQLiteBackend(path)
    assert await backend.get_many(list(STORED)) == list(STORED.values())
    await backend.aclose()


async def test_older_version_leaves_a_migrated_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that opens a file of a newer version is refused; the newer version continues."""
    path = tmp_path / "cache.db"
    await _store(path)
    with monkeypatch.context() as patch:
        _become_next(patch)
        newer = SQLiteBackend(path)
        assert await newer.get_many(["k1"]) == [STORED["k1"]]
    older = SQLiteBackend(path)
    with pytest.raises(FileRefused, match="newer"):
        await older.get_many(["k1"])
    with pytest.raises(FileRefused, match="newer"):
        await older.set_many({"k1": b"v"}, ttl=60)
    await older.aclose()
    assert await newer.get_many(["k1"]) == [STORED["k1"]]
    await newer.aclose()
    assert not _moved_aside(tmp_path)


async def test_newer_version_in_the_log_only_is_refused(tmp_path: Path) -> None:
    """A process killed right after its migration leaves the new version in the WAL only; it counts."""
    path = tmp_path / "cache.db"
    await _store(path)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("ALTER TABLE entries ADD COLUMN owner TEXT")
    connection.execute(f"PRAGMA user_version = {schema.packed(schema.VERSION + 1)}")
    backend = SQLiteBackend(path)
    with pytest.raises(FileRefused, match="newer"):
        await backend.get_many(["k1"])
    await backend.aclose()
    assert connection.execute("SELECT count(*) FROM entries").fetchone() == (len(STORED),)
    connection.close()
    assert not _moved_aside(tmp_path)


async def test_newer_version_whose_log_is_damaged_is_refused(tmp_path: Path) -> None:
    """The newer version decides whether its WAL has lost writes."""
    path = tmp_path / "cache.db"
    await _store(path)
    writer = f"""
import os, sqlite3
connection = sqlite3.connect({str(path)!r}, isolation_level=None)
connection.execute("PRAGMA wal_autocheckpoint = 0")
connection.execute("PRAGMA user_version = {schema.packed(schema.VERSION + 1)}")
for number in range(50):
    connection.execute("INSERT INTO changes VALUES (?, ?)", (10**9 + number, "x" * 9000))
os.kill(os.getpid(), 9)
"""
    await asyncio.to_thread(subprocess.run, [sys.executable, "-c", writer], check=False)
    log = tmp_path / "cache.db-wal"
    data = bytearray(log.read_bytes())
    data[len(data) // 2] ^= 1
    log.write_bytes(data)
    backend = SQLiteBackend(path)
    with pytest.raises(FileRefused, match="newer"):
        await backend.get_many(["k1"])
    await backend.aclose()
    assert not _moved_aside(tmp_path)


async def test_file_migrated_while_it_is_open_is_left_alone(tmp_path: Path) -> None:
    """A process with the file open during a migration fails once, and from then on names the reason."""
    path = tmp_path / "cache.db"
    backend = SQLiteBackend(path)
    await backend.set_many(STORED, ttl=60)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("ALTER TABLE entries RENAME COLUMN value TO body")
    connection.execute(f"PRAGMA user_version = {schema.packed(schema.VERSION + 1)}")
    with pytest.raises(BackendError):
        await backend.set_many({"k1": b"v"}, ttl=60)
    with pytest.raises(FileRefused, match="newer"):
        await backend.set_many({"k1": b"v"}, ttl=60)
    await backend.aclose()
    assert connection.execute("SELECT count(*) FROM entries").fetchone() == (len(STORED),)
    connection.close()
    assert not _moved_aside(tmp_path)
