"""Files that SQLite has locks on are not opened and closed by others of this process, which would give the locks up."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest

from cachecore_sqlite import SQLiteBackend, SQLiteOptions, opened
from cachecore_sqlite.file import Database
from cachecore_sqlite.opened import Inode

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


@pytest.fixture
def probe() -> Iterator[Callable[[Path], str]]:
    """Another process that tells whether anybody has a file open."""
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
    """By them other processes know that the file is open: the first of all would cut off the index under our eyes."""
    path = tmp_path / "cache.db"
    first = SQLiteBackend(path)
    await first.set_many({"k": b"v"}, ttl=None)
    await first.aclose()
    told = set()
    for _ in range(100):
        backends = [SQLiteBackend(path, options=SQLiteOptions(timeout=5.0)) for _ in range(2)]
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
    """So nobody reads the index between the two; nor is one opened while somebody reads."""
    database = Database(str(tmp_path / "cache.db"), SQLiteOptions())
    calls: list[object] = []
    open_ = Database._open

    def watched(self: Database, mode: Literal["rw", "rwc"], expected: Inode | None) -> object:
        calls.append(opened.unless_connected(opened.inode_of(self.path), opened._lock.locked))
        return open_(self, mode, expected)

    monkeypatch.setattr(Database, "_open", watched)
    connection, files = database.connect()
    assert calls == [True, None]  # the first one makes the file, and holds the lock that all others wait for
    database.disconnect(connection, files)
    assert opened.unless_connected(opened.inode_of(database.path), lambda: "alone") == "alone"


def test_a_connection_that_fails_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the log would never be looked into again."""
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
    assert opened.unless_connected(opened.inode_of(database.path), lambda: "alone") == "alone"
