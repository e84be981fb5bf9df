"""What happens to the file underneath: deleted, replaced, moved; and what lies around from before."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Literal

import pytest

from cachecore_sqlite import SQLiteBackend
from cachecore_sqlite.file import Database


async def test_file_deleted_underneath(tmp_path: Path) -> None:
    """After somebody deletes the file, everybody is in the new one: nobody writes into the void."""
    path = tmp_path / "cache.db"
    first, second = SQLiteBackend(path), SQLiteBackend(path)
    await first.set_many({"k": b"v"}, ttl=60)
    assert await second.get_many(["k"]) == [b"v"]
    path.unlink()
    await first.set_many({"k2": b"new"}, ttl=60)
    assert await second.get_many(["k", "k2"]) == [None, b"new"]
    await second.set_many({"k3": b"new"}, ttl=60)
    assert await first.get_many(["k", "k2", "k3"]) == [None, b"new", b"new"]
    await first.aclose()
    await second.aclose()
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    assert sorted(os.listdir(tmp_path)) == ["cache.db", "cache.db-reserve"]


async def test_folder_deleted_underneath(tmp_path: Path) -> None:
    """Even the folder may go; it is made again."""
    folder = tmp_path / "folder"
    path = folder / "cache.db"
    backend = SQLiteBackend(path)
    await backend.set_many({"k": b"v"}, ttl=60)
    for name in os.listdir(folder):
        (folder / name).unlink()
    folder.rmdir()
    assert await backend.get_many(["k"]) == [None]
    await backend.set_many({"k": b"again"}, ttl=60)
    assert await backend.get_many(["k"]) == [b"again"]
    await backend.aclose()


async def test_file_replaced_underneath(tmp_path: Path) -> None:
    """A file put in the place of another is the cache from the next call on."""
    other = SQLiteBackend(tmp_path / "other.db")
    await other.set_many({"k": b"other"}, ttl=60)
    await other.aclose()
    path = tmp_path / "cache.db"
    backend = SQLiteBackend(path)
    await backend.set_many({"k": b"first"}, ttl=60)
    os.replace(tmp_path / "other.db", path)
    for suffix in ("-wal", "-shm"):
        os.unlink(f"{path}{suffix}")
    assert await backend.get_many(["k"]) == [b"other"]
    await backend.aclose()


@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal"])
async def test_leftovers_of_another_file_are_not_taken_in(tmp_path: Path, suffix: str) -> None:
    """Logs that outlived their database are not applied to a new one."""
    path = tmp_path / "cache.db"
    (tmp_path / f"cache.db{suffix}").write_bytes(os.urandom(40_000))
    backend = SQLiteBackend(path)
    await backend.set_many({"k": b"v"}, ttl=60)
    assert await backend.get_many(["k"]) == [b"v"]
    await backend.aclose()
    assert sorted(os.listdir(tmp_path)) == ["cache.db", "cache.db-reserve"]


async def test_path_with_characters_that_mean_something_in_urls(tmp_path: Path) -> None:
    """A file name is only a name."""
    path = tmp_path / "a b?c#d%20e&f=é.db"
    backend = SQLiteBackend(path)
    await backend.set_many({"k": b"v"}, ttl=60)
    await backend.aclose()
    assert sorted(os.listdir(tmp_path)) == [path.name, f"{path.name}-reserve"]


async def test_two_processes_make_the_file_at_once(tmp_path: Path) -> None:
    """Backends that open a new file together agree on one."""
    path = tmp_path / "cache.db"
    backends = [SQLiteBackend(path) for _ in range(6)]
    for number, backend in enumerate(backends):
        await backend.set_many({f"k{number}": b"v"}, ttl=60)
    for backend in backends:
        assert await backend.get_many([f"k{number}" for number in range(6)]) == [b"v"] * 6
    for backend in backends:
        await backend.aclose()


@pytest.mark.parametrize("when", ["before", "after"])
async def test_file_moved_while_it_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    """Another thread that finds the file damaged moves it while this one opens it: the new file is opened instead."""
    path = tmp_path / "cache.db"
    before = SQLiteBackend(path)
    await before.set_many({"k": b"v"}, ttl=60)
    await before.aclose()
    opened = Database._open
    moved: list[str] = []

    def open_and_move(self: Database, mode: Literal["rw", "rwc"]) -> sqlite3.Connection:
        connection = opened(self, mode) if moved or mode == "rwc" or when == "after" else None
        if mode == "rw" and not moved:
            moved.append(mode)
            path.rename(tmp_path / "aside.db")
        return connection or opened(self, mode)

    monkeypatch.setattr(Database, "_open", open_and_move)
    backend = SQLiteBackend(path)
    assert await backend.get_many(["k"]) == [None]
    assert moved
    await backend.set_many({"k": b"new"}, ttl=60)
    assert await backend.get_many(["k"]) == [b"new"]
    await backend.aclose()


async def test_log_of_a_predecessor_removed_while_the_file_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What SQLite wanted to remove was removed by a connection to the old file: the new one is opened all the same."""
    prepare = Database._prepare
    overtaken: list[str] = []

    def prepare_late(self: Database) -> object:
        if not overtaken:  # the moment cannot be arranged: two connections of SQLite are within one statement each
            overtaken.append(self.path)
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_DELETE_NOENT
            raise error
        return prepare(self)

    monkeypatch.setattr(Database, "_prepare", prepare_late)
    backend = SQLiteBackend(tmp_path / "cache.db")
    assert await backend.get_many(["k"]) == [None]
    assert overtaken
    await backend.aclose()
