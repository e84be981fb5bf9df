"""Ownership of a file, read from its first page."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from cachecore_sqlite import SQLiteOptions
from cachecore_sqlite.file import ownership, schema
from cachecore_sqlite.file.database import Database
from cachecore_sqlite.file.open_files import WAL_SUFFIX


def test_a_file_that_is_made_whole_meanwhile_is_not_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise of `ownership`: a checkpoint that finishes between its two looks at the file leads to no `damaged`."""
    path = tmp_path / "cache.db"
    database = Database(str(path), SQLiteOptions())
    connection, files = database.connect()
    connection.execute("INSERT INTO changes(keys) VALUES (?)", ("k" * 40_000,))
    database.disconnect(connection, files)
    whole = path.read_bytes()
    path.write_bytes(whole[: 2 * schema.PAGE_BYTES])
    log = Path(f"{path}{WAL_SUFFIX}")
    log.write_bytes(b"what is left to move")
    assert ownership.ownership(str(path)) == "ours"
    told = []
    by_marks = ownership._by_marks

    def finished(path_: str) -> ownership.Ownership:
        path.write_bytes(whole)
        log.unlink()
        told.append(by_marks(path_))
        return told[-1]

    monkeypatch.setattr(ownership, "_by_marks", finished)
    assert ownership.ownership(str(path)) == "ours"
    assert told == ["damaged"]
    with sqlite3.connect(path) as reopened:
        assert reopened.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    reopened.close()
