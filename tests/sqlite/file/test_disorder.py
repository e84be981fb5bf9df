"""Ids and index rows out of order: one flipped bit hides other rows, and deleted answers must not come back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import time
from pathlib import Path

import pytest

from cachecore.contract import BackendError
from cachecore_sqlite import SQLiteBackend
from cachecore_sqlite.file import schema
from cachecore_sqlite.file.errors import concerns_one_call, is_damage
from tests.sqlite.children import keep_open, running
from tests.sqlite.opening import until_checked

KEYS = [f"p:e:{number}" for number in range(120)]


@pytest.mark.parametrize("which", range(6))
async def test_deleted_answers_do_not_come_back_from_damaged_entries(tmp_path: Path, which: int) -> None:
    """One flipped bit in an id hides its row, so that it cannot be deleted, until another one goes."""
    path = tmp_path / "cache.db"
    backend = SQLiteBackend(path)
    keys = [f"k{number}" for number in range(200)]
    await backend.set_many(dict.fromkeys(keys, b"old" * 40), ttl=None)
    await backend.aclose()
    data = bytearray(path.read_bytes())
    pages = range(4096, len(data), 4096)
    leaves = [page for page in pages if data[page] == 13 and b"oldold" in data[page : page + 4096]]
    page = leaves[which % len(leaves)]
    pointer = page + 8 + 2 * (int.from_bytes(data[page + 3 : page + 5], "big") // 2 - which)
    cell = page + int.from_bytes(data[pointer : pointer + 2], "big")
    at = cell + 1 + (data[cell] >= 128)  # behind the length of the row
    at += data[at] >= 128  # the last byte of its id
    data[at] ^= 1
    path.write_bytes(data)
    backend = SQLiteBackend(path)
    await backend.get_many(keys[:1])
    until_checked(backend)
    await backend.delete_many(keys)
    for _ in range(2):
        assert await backend.get_many(keys) == [None] * len(keys)
        await backend.aclose()
        backend = SQLiteBackend(path)
    await backend.aclose()


async def _until_moved_aside(caplog: pytest.LogCaptureFixture) -> None:
    limit = time.monotonic() + 60
    while ".damaged-" not in caplog.text:
        assert time.monotonic() < limit
        await asyncio.sleep(0)


async def _with_a_place_out_of_order(path: Path, table: str) -> None:
    """Create a file in which one flipped bit of an index row hides those beside it."""
    backend = SQLiteBackend(path)
    await backend.set_many(dict.fromkeys(KEYS, b"old"), ttl=None)
    await backend.aclose()
    _disorder(path, table)


def _disorder(path: Path, table: str) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        if table == "places":
            connection.execute("INSERT INTO places SELECT * FROM recent")
            connection.execute("DELETE FROM recent")
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    data = bytearray(path.read_bytes())
    page = (root - 1) * 4096
    cells = int.from_bytes(data[page + 3 : page + 5], "big")
    assert cells == len(KEYS)
    pointer = page + 8 + 2 * ((cells - 1) // 2)  # of the row that a search looks at first
    cell = page + int.from_bytes(data[pointer : pointer + 2], "big")
    data[cell + 1] ^= 0x40  # in its hash
    path.write_bytes(data)


async def test_a_process_that_only_writes_looks_at_the_file_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A process checks the file too if it only writes, or opens the file beside another process."""
    path = tmp_path / "cache.db"
    await _with_a_place_out_of_order(path, "recent")
    with caplog.at_level(logging.WARNING):
        backend = SQLiteBackend(path)
        with contextlib.suppress(BackendError):  # it is moved aside in that very moment
            await backend.delete_many(KEYS)
        await _until_moved_aside(caplog)
        assert await backend.get_many(KEYS) == [None] * len(KEYS)
        await backend.aclose()
    caplog.clear()
    await _with_a_place_out_of_order(path, "places")
    with running(keep_open, str(path)) as (_, pipe), caplog.at_level(logging.WARNING):
        assert await asyncio.to_thread(pipe.recv) == "open"
        backend = SQLiteBackend(path)
        await backend.get_many(KEYS[:1])
        await _until_moved_aside(caplog)
        await backend.aclose()


def test_a_broken_rule_of_the_tables_is_damage() -> None:
    """No statement of the store violates a constraint: the rows are damaged, and every write would fail for good."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        schema.create(connection)
        for statement in ("INSERT INTO changes VALUES (1, '')", "INSERT INTO places VALUES ('text', 1)"):
            with pytest.raises(sqlite3.Error) as raised:
                connection.execute(statement)
            assert is_damage(raised.value)
            assert not concerns_one_call(raised.value)


@pytest.mark.parametrize("table", ["recent", "places"])
async def test_deleted_answers_do_not_come_back_from_a_damaged_index(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, table: str
) -> None:
    """One flipped bit hides the index rows beside it: a row deleted meanwhile must not come back with them."""
    path = tmp_path / "cache.db"
    await _with_a_place_out_of_order(path, table)
    backend = SQLiteBackend(path)
    with caplog.at_level(logging.WARNING):
        await backend.get_many(KEYS[:1])
        with contextlib.suppress(BackendError):  # it is moved aside in that very moment
            await backend.delete_many(KEYS)
        await _until_moved_aside(caplog)
    assert "not in order" in caplog.text
    assert await backend.get_many(KEYS) == [None] * len(KEYS)
    assert [page async for page in backend.scan("")] == []
    await backend.set_many({"k": b"v"}, ttl=None)
    assert await backend.get_many(["k"]) == [b"v"]
    await backend.aclose()
