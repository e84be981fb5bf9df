"""The file at the path is deleted, replaced or moved while it is open; logs of a predecessor lie beside it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import Literal

import pytest

from cachecore.contract import Alive, BackendError, Lost
from cachecore_sqlite import SQLiteBackend, SQLiteOptions
from cachecore_sqlite.file.database import Database
from cachecore_sqlite.file.open_files import Inode
from tests.sqlite.children import call_when_told, running
from tests.sqlite.disks import PATIENT
from tests.sqlite.opening import until_checked


async def test_file_deleted_underneath(tmp_path: Path) -> None:
    """After the file was deleted, all backends use the new one; no write goes to the deleted file."""
    path = tmp_path / "cache.db"
    first, second = SQLiteBackend(path, options=PATIENT), SQLiteBackend(path, options=PATIENT)
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
    """The folder may be deleted too; it is created again."""
    folder = tmp_path / "folder"
    path = folder / "cache.db"
    backend = SQLiteBackend(path)
    await backend.set_many({"k": b"v"}, ttl=60)
    until_checked(backend)
    for name in os.listdir(folder):
        (folder / name).unlink()
    folder.rmdir()
    assert await backend.get_many(["k"]) == [None]
    await backend.set_many({"k": b"again"}, ttl=60)
    assert await backend.get_many(["k"]) == [b"again"]
    await backend.aclose()


@pytest.mark.parametrize("logs", ["left", "removed first"])
@pytest.mark.parametrize("first", ["read", "write"])
async def test_file_replaced_underneath(tmp_path: Path, first: str, logs: str) -> None:
    """A replacing file is the cache from the next call on, and gets no page of the old file's WAL."""
    other = SQLiteBackend(tmp_path / "other.db")
    await other.set_many({"k": b"other"}, ttl=60)
    await other.aclose()
    path = tmp_path / "cache.db"
    backend = SQLiteBackend(path)
    await backend.set_many({"k": b"first", "only": b"first"}, ttl=60)
    if logs == "removed first":
        until_checked(backend)
        _remove_logs(path)
    os.replace(tmp_path / "other.db", path)
    if first == "write":
        await backend.set_many({"k2": b"new"}, ttl=60)
    assert await backend.get_many(["k", "only"]) == [b"other", None]
    await backend.set_many({"k3": b"new"}, ttl=60)
    await backend.aclose()
    assert sorted(os.listdir(tmp_path)) == ["cache.db", "cache.db-reserve", "other.db-reserve"]
    again = SQLiteBackend(path)
    assert await again.get_many(["k", "only", "k3"]) == [b"other", None, b"new"]
    await again.aclose()


@pytest.mark.parametrize("first", ["read", "write", "feed"])
async def test_log_deleted_underneath(tmp_path: Path, first: str) -> None:
    """A deleted value does not come back in any process once a process that knows of the deletion has looked."""
    path = tmp_path / "cache.db"
    before = SQLiteBackend(path)
    await before.set_many({"k": b"deleted since"}, ttl=60)
    await before.aclose()
    backend = SQLiteBackend(path, options=SQLiteOptions(feed_interval=0.01))
    await backend.get_many(["k"])
    until_checked(backend)
    await backend.delete_many(["k"])
    with running(call_when_told, str(path)) as (_, pipe):
        if first == "feed":
            await _until_lost(backend, path)
        else:
            _remove_logs(path)
            pipe.send(("get_many", (["k"],), {}))
            assert pipe.recv() == [b"deleted since"]  # the other process cannot know that
            call = backend.get_many(["k"]) if first == "read" else backend.set_many({"k2": b"v"}, ttl=60)
            with pytest.raises(BackendError) as raised:
                await call
            assert raised.value.reason == "corrupt"
        pipe.send(("get_many", (["k"],), {}))
        assert pipe.recv() == [None]
        await backend.set_many({"k3": b"v"}, ttl=60)
        pipe.send(("get_many", (["k", "k3"],), {}))
        assert pipe.recv() == [None, b"v"]
    assert await backend.get_many(["k", "k3"]) == [None, b"v"]
    await backend.aclose()


async def _until_lost(backend: SQLiteBackend, path: Path) -> None:
    """Follow the feed, remove the logs at its first heartbeat, and return when it reports lost changes."""
    async for event in backend.feed(""):
        if isinstance(event, Lost):
            return
        if isinstance(event, Alive):
            _remove_logs(path)


def _remove_logs(path: Path) -> None:
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


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
    backends = [SQLiteBackend(path, options=PATIENT) for _ in range(6)]
    for number, backend in enumerate(backends):
        await backend.set_many({f"k{number}": b"v"}, ttl=60)
    for backend in backends:
        assert await backend.get_many([f"k{number}" for number in range(6)]) == [b"v"] * 6
    for backend in backends:
        await backend.aclose()


async def test_file_replaced_while_it_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise of `_open`: a connection to an unexpected file reads nothing: its close would copy the other WAL."""
    other = SQLiteBackend(tmp_path / "other.db")
    await other.set_many({"k": b"other"}, ttl=60)
    await other.aclose()
    path = tmp_path / "cache.db"
    backend = SQLiteBackend(path)
    await backend.get_many(["k"])
    until_checked(backend)
    await backend.set_many({"k": b"first"}, ttl=60)
    open_ = Database._open

    def replace_and_open(self: Database, mode: Literal["rw", "rwc"], expected: Inode | None) -> sqlite3.Connection:
        with contextlib.suppress(FileNotFoundError):
            os.replace(tmp_path / "other.db", path)
        return open_(self, mode, expected)

    monkeypatch.setattr(Database, "_open", replace_and_open)
    second = SQLiteBackend(path)
    assert await second.get_many(["k"]) == [b"other"]
    assert await backend.get_many(["k"]) == [b"other"]
    await second.aclose()
    await backend.aclose()


@pytest.mark.parametrize("when", ["before", "after"])
async def test_file_moved_while_it_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    """Promise around `_open`: if another thread moves a damaged file aside meanwhile, the new file is opened."""
    path = tmp_path / "cache.db"
    before = SQLiteBackend(path)
    await before.set_many({"k": b"v"}, ttl=60)
    await before.aclose()
    open_ = Database._open
    moved: list[str] = []

    def open_and_move(self: Database, mode: Literal["rw", "rwc"], expected: Inode | None) -> sqlite3.Connection:
        connection = open_(self, mode, expected) if moved or mode == "rwc" or when == "after" else None
        if mode == "rw" and not moved:
            moved.append(mode)
            path.rename(tmp_path / "aside.db")
        return connection or open_(self, mode, expected)

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
    """Promise around `_prepare`: if a connection to the old file deletes the log first, the opening is repeated."""
    prepare = Database._prepare
    overtaken: list[str] = []

    def prepare_late(self: Database) -> object:
        if not overtaken:  # the moment cannot be arranged: both connections are inside one statement
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
