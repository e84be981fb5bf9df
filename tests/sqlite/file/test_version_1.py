"""Files of version 1, with one index of all hashes, keep all their entries in version 2."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cachecore.contract import BackendError
from cachecore_sqlite import SQLiteBackend
from cachecore_sqlite.file import schema
from cachecore_sqlite.file.open_files import read_start
from cachecore_sqlite.file.ownership import free_bytes
from cachecore_sqlite.table import rows

TABLES = (
    f"CREATE TABLE mark(text TEXT NOT NULL /* {schema.MARK} */)",
    """CREATE TABLE entries(
    id INTEGER PRIMARY KEY,
    hash INTEGER NOT NULL UNIQUE,
    key TEXT NOT NULL,
    deadline REAL,
    checksum INTEGER NOT NULL,
    value BLOB NOT NULL
)""",
    "CREATE INDEX entries_deadline ON entries(deadline) WHERE deadline IS NOT NULL",
    "CREATE TABLE changes(seq INTEGER PRIMARY KEY, keys TEXT NOT NULL)",
)
STORED = {f"k{number}": b"%d" % number * 300 for number in range(2000)}
HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA wal_autocheckpoint = 0")
connection.execute("DELETE FROM entries WHERE key = 'k7'")
print("written", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of version 1."""
    path = tmp_path / "cache.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA page_size = 4096")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("BEGIN")
        for statement in TABLES:
            connection.execute(statement)
        connection.execute("INSERT INTO mark VALUES (?)", (f"{schema.MARK} 5E1F",))
        connection.execute("INSERT INTO changes VALUES (1, '')")
        connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {schema.packed(1)}")
        until = time.time() + 600
        for number, (key, value) in enumerate(STORED.items()):
            deadline = until if number % 2 else None
            # The newest has the lowest id: hashes and ages are unrelated.
            row = (4000 - number, rows.hash_of(key), key, deadline, rows.checksum(key, deadline, value), value)
            connection.execute("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?)", row)
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = WAL").fetchone()
    return path


@contextlib.contextmanager
def _held(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process has changed the file; the change is in the WAL only."""
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "written\n"
            yield holder
        finally:
            holder.kill()


def _told_by_the_first_page(path: Path) -> int | None:
    """Return the version on the first page, which an older library reads before it opens the file.

    The handle stays open as long as the connections of this process: closing it would release their locks.
    """
    return schema.unpacked(int.from_bytes(read_start(str(path), 64)[60:], "big"))


async def _is_all_there(path: Path, *, but: frozenset[str] = frozenset()) -> None:
    backend = SQLiteBackend(path)
    found = dict(zip(STORED, await backend.get_many(list(STORED)), strict=True))
    assert found == {key: None if key in but else value for key, value in STORED.items()}
    scanned = [key async for page in backend.scan("k") for key in page]
    assert sorted(scanned) == sorted(set(STORED) - but)
    await backend.set_many({"k0": b"new"}, ttl=60)
    assert await backend.delete_many(["k1", "absent"]) == 1
    assert await backend.swap("k2", STORED["k2"], b"newer", ttl=60)
    assert await backend.get_many(["k0", "k1", "k2"]) == [b"new", None, b"newer"]
    await backend.aclose()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        assert schema.version(connection) == schema.VERSION == 2
        assert schema.is_sound(connection)
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        ages = [key for (key,) in connection.execute("SELECT key FROM entries ORDER BY id")]
        assert ages == [key for key in reversed(STORED) if key not in ("k0", "k1", "k2", *but)] + ["k0", "k2"]
    assert sorted(os.listdir(path.parent)) == ["cache.db", "cache.db-reserve"]


async def test_all_it_held_is_there(path: Path) -> None:
    """Values, deadlines and ages; no second copy of a row is left."""
    await _is_all_there(path)


async def test_what_stands_in_the_log_of_a_killed_process_is_brought_over(path: Path) -> None:
    """The WAL is checked before the migration restarts it, so it does not count as one that lost writes."""
    with _held(path) as holder:
        holder.kill()
        holder.wait()
        await _is_all_there(path, but=frozenset({"k7"}))


async def test_another_process_may_have_it_open(path: Path) -> None:
    """Another process uses the WAL, and the migration restarts it."""
    with _held(path) as holder:
        backend = SQLiteBackend(path)
        assert await backend.get_many(["k3", "k7"]) == [STORED["k3"], None]
        assert _told_by_the_first_page(path) == 2
        holder.communicate("\n")
        await backend.aclose()
    await _is_all_there(path, but=frozenset({"k7"}))


@pytest.mark.parametrize("small_disk", [16], indirect=True)
async def test_without_room_it_is_left_as_it_is(path: Path, small_disk: Path) -> None:
    """A migration takes twice the size of the file; a disk with less space is not filled in vain, again and again."""
    moved = small_disk / "cache.db"
    shutil.move(path, moved)
    before = moved.read_bytes()
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(free_bytes(str(small_disk)) - 2 * len(before) + 4096))
    backend = SQLiteBackend(moved)
    for _ in range(2):
        with pytest.raises(BackendError, match="full") as raised:
            await backend.get_many(["k1"])
        assert "older version" in str(raised.value.__cause__)
        with pytest.raises(BackendError, match="full"):
            await backend.set_many({"k1": b"v"}, ttl=60)
    assert moved.read_bytes() == before
    ballast.unlink()
    assert await backend.get_many(["k1"]) == [STORED["k1"]]
    await backend.aclose()
    await _is_all_there(moved)
