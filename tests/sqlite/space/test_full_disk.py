"""On a disk full to the last byte deletions work, sets are refused, and both recover once space is free."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import threading
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from cachecore.contract import BackendError
from cachecore.contract.options import MIB
from cachecore.testing.clocks import FakeClock
from cachecore_sqlite import SQLiteBackend, SQLiteOptions
from cachecore_sqlite.space.admission import SpaceAdmission
from cachecore_sqlite.space.checkpoint import Wal
from tests.sqlite.children import call_when_told, fill_folder, running
from tests.sqlite.disks import LARGE, PATIENT, ask, fill_in_batches, mounted, reading, to_the_last_byte, until_set


async def test_deletions_on_a_disk_that_is_full_to_the_last_byte(small_disk: Path) -> None:
    """Two processes delete repeatedly and see each other's deletions; sets are `full` until space is free."""
    path, reserve, ballast = (small_disk / name for name in ("cache.db", "cache.db-reserve", "ballast"))
    ballast.write_bytes(bytes(300_000))
    backend = SQLiteBackend(path, options=PATIENT)
    stored = await to_the_last_byte(backend, ballast)
    keys = list(stored)
    assert reserve.stat().st_size == MIB
    with running(call_when_told, str(path)) as (_, pipe):
        other = partial(ask, pipe)
        given_up = 0
        assert await other("get_many", keys[:20]) == list(stored.values())[:20]
        for number in range(0, 20, 2):
            assert await backend.delete_many([keys[number]]) == 1
            given_up += reserve.stat().st_size < MIB
            assert await other("delete_many", [keys[number + 1]]) == 1
            assert await other("get_many", [keys[number]]) == [None]
            assert await backend.get_many([keys[number + 1]]) == [None]
            with pytest.raises(BackendError, match="full"):
                await backend.swap("new", None, LARGE, ttl=60)
            assert await other("set_many", {"new": LARGE}, ttl=60) == "full"
        assert given_up
        assert await other("get_many", keys[20:]) == list(stored.values())[20:]
        while (small_disk / "cache.db-wal").stat().st_size < 120_000:
            assert await backend.delete_many([keys.pop()]) == 1
        os.truncate(ballast, ballast.stat().st_size - 80_000)  # the reserve fits only after the WAL was truncated
        await until_set(backend, "after")
        assert reserve.stat().st_size == MIB
        assert await other("get_many", ["after", keys[0]]) == [b"v", None]
        assert await other("delete_many", ["after"]) == 1
    assert await backend.get_many(["after", keys[20]]) == [None, stored[keys[20]]]
    await backend.aclose()


async def test_deletions_never_use_the_reserve_up(small_disk: Path) -> None:
    """They write more than the reserve holds, and sets in between never take its space."""
    backend = SQLiteBackend(small_disk / "cache.db", options=PATIENT)
    stored = await to_the_last_byte(backend, small_disk / "ballast")
    keys = list(stored)
    for number in range(400):
        assert await backend.delete_many([keys[number % len(keys)]]) == (number < len(keys))
        with pytest.raises(BackendError, match="full"):
            await backend.set_many({"more": LARGE}, ttl=60)
    await backend.aclose()


async def test_deletions_and_sets_of_one_transaction(small_disk: Path) -> None:
    """On a full disk the sets of a transaction are refused, and its deletions succeed."""
    backend = SQLiteBackend(small_disk / "cache.db", options=PATIENT)
    stored = await to_the_last_byte(backend, small_disk / "ballast")
    keys = list(stored)
    calls = [
        call
        for number in range(8)
        for call in (backend.delete_many([keys[number]]), backend.set_many({f"new{number}": bytes(5000)}, ttl=60))
    ]
    found = await asyncio.gather(*calls, return_exceptions=True)
    assert found[::2] == [1] * 8
    assert [getattr(error, "reason", error) for error in found[1::2]] == ["full"] * 8
    assert await backend.get_many(keys[:9]) == [None] * 8 + [stored[keys[8]]]
    await backend.aclose()


@pytest.mark.parametrize("small_disk", [32], indirect=True)
async def test_deletions_that_are_larger_than_the_reserve(small_disk: Path) -> None:
    """A deletion of many keys is split, and thousands of others succeed after it."""
    backend = SQLiteBackend(small_disk / "cache.db", options=PATIENT)
    keys = await fill_in_batches(backend)
    fill_folder(small_disk / "ballast")
    assert len(keys) > 12_000
    assert await backend.delete_many(keys[:1024]) == 1024
    for number in range(1024, 2024):
        assert await backend.delete_many([keys[number]]) == 1
    assert await backend.delete_many(keys[2024:3048]) == 1024
    assert await backend.get_many(keys[:3048]) == [None] * 3048
    await backend.aclose()


@pytest.mark.parametrize("small_disk", [16], indirect=True)
async def test_deletions_are_not_made_to_remove_what_has_expired(small_disk: Path) -> None:
    """The space of the reserve is used for deletions, not for the removal of expired rows."""
    clock = FakeClock()
    backend = SQLiteBackend(small_disk / "cache.db", options=PATIENT, clock=clock)
    keys = await fill_in_batches(backend)
    number = 0
    while (small_disk / "cache.db-reserve").stat().st_size == MIB:
        fill_folder(small_disk / "ballast")
        assert await backend.delete_many([keys[number]]) == 1
        number += 1
    clock.advance(1000)
    for key in keys[number : number + 100]:
        assert await backend.delete_many([key]) == 0
    with contextlib.closing(sqlite3.connect(backend.path)) as connection:
        assert connection.execute("SELECT count(*) FROM entries").fetchone() == (len(keys) - number - 100,)
    await backend.aclose()


@pytest.mark.parametrize("small_disk", [16], indirect=True)
async def test_deletions_beside_a_program_that_takes_all_room(small_disk: Path) -> None:
    """They overwrite the WAL, which is not truncated while the reserve is given up."""
    backend = SQLiteBackend(small_disk / "cache.db", options=PATIENT)
    keys = await fill_in_batches(backend)
    for key in keys[:400]:
        fill_folder(small_disk / "ballast")
        assert await backend.delete_many([key]) == 1
    await backend.aclose()


@pytest.mark.parametrize("small_disk", [12, 16], indirect=True)
@pytest.mark.parametrize(("keys", "size"), [(1, 200_000), (16, 1700), (50, 1500), (250, 3000)])
async def test_log_never_fills_the_disk_for_good(small_disk: Path, keys: int, size: int) -> None:
    """Sets are refused beside a reader of the WAL, and work after it without any deletion."""
    backend = SQLiteBackend(small_disk / "cache.db", options=PATIENT)
    await backend.set_many({"first": b"v"}, ttl=600)
    with reading(backend.path), pytest.raises(BackendError, match="full"):
        for number in range(9000):
            await backend.set_many({f"{number}:{n}": os.urandom(size) for n in range(keys)}, ttl=600)
    await until_set(backend, "after")
    await backend.aclose()


@pytest.mark.parametrize("small_disk", [16], indirect=True)
async def test_reserve_lets_a_log_begin_anew_whose_room_others_took(small_disk: Path) -> None:
    """The file must take the pages of the WAL on a disk filled by other data: sets work nevertheless."""
    backend = SQLiteBackend(small_disk / "cache.db", options=PATIENT)
    await backend.set_many({"first": b"v"}, ttl=600)
    with reading(backend.path):
        for number in range(300):
            await backend.set_many({f"{number}": os.urandom(1700)}, ttl=600)
        fill_folder(small_disk / "ballast")
    await until_set(backend, "after")
    assert (small_disk / "cache.db-reserve").stat().st_size == MIB
    await backend.aclose()


@pytest.mark.parametrize(("kind", "option"), [("ramfs", "mode=700"), ("tmpfs", "size=0"), ("tmpfs", "nr_inodes=4")])
async def test_disk_that_tells_no_size_or_has_no_inode_is_not_full(tmp_path: Path, kind: str, option: str) -> None:
    """Where the free space is unknown, or no reserve is possible, only SQLite reports a full disk."""
    folder = tmp_path / "disk"
    folder.mkdir()
    with mounted(folder, kind, option):
        backend = SQLiteBackend(folder / "cache.db", options=PATIENT)
        await backend.set_many({"first": b"v"}, ttl=600)
        with reading(backend.path):
            for number in range(100):
                await backend.set_many({f"{number}": bytes(1700)}, ttl=600)
        assert (folder / "cache.db-reserve").exists() == ("inodes" not in option)
        await backend.aclose()


@pytest.mark.parametrize("small_disk", [16], indirect=True)
async def test_log_never_holds_more_than_the_file_can_take(small_disk: Path) -> None:
    """Beside a reader sets are refused in time, so that the disk has space for a complete checkpoint afterwards."""
    backend = SQLiteBackend(small_disk / "cache.db", options=PATIENT)
    await backend.set_many({"first": b"v"}, ttl=600)
    with reading(backend.path):
        keys = await fill_in_batches(backend)
    assert len(keys) > 1000
    for key in keys[:1000]:
        assert await backend.delete_many([key]) == 1
    await until_set(backend, "after")
    await backend.aclose()


async def test_deletion_waits_for_a_reader_as_long_as_it_has_time(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise of `make_space`: without space and reserve, a deletion is tried until the reader of the WAL has ended."""
    (small_disk / "cache.db-reserve").mkdir()
    backend = SQLiteBackend(small_disk / "cache.db", options=PATIENT)
    await backend.set_many({"first": b"v"}, ttl=600)
    waiting = SQLiteBackend(small_disk / "cache.db", options=SQLiteOptions(timeout=60))
    assert await waiting.get_many(["first"]) == [b"v"]
    make_space, tried, often = SpaceAdmission.make_space, Counter[str](), threading.Event()

    def counted(self: SpaceAdmission, connection: sqlite3.Connection, until: float) -> bool:
        tried["make_space"] += 1
        if tried["make_space"] == 10:
            often.set()
        return make_space(self, connection, until)

    monkeypatch.setattr(SpaceAdmission, "make_space", counted)
    with reading(backend.path):
        with contextlib.closing(sqlite3.connect(backend.path)) as other:
            other.execute("PRAGMA wal_checkpoint(PASSIVE)")
        with pytest.raises(BackendError, match="full"):
            while True:
                await backend.delete_many(["absent"])
                fill_folder(small_disk / "ballast")
        often.clear()
        tried.clear()
        deleting = asyncio.ensure_future(waiting.delete_many(["first"]))
        assert await asyncio.to_thread(often.wait, 30)
    assert await deleting == 1
    await waiting.aclose()
    await backend.aclose()


async def test_set_is_refused_in_time_if_others_fill_the_log_again(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise around `Wal.restart`: if no restart frees space, a set is refused in time instead of waiting for ever."""
    backend = SQLiteBackend(small_disk / "cache.db")
    await backend.set_many({"first": b"v"}, ttl=600)
    with contextlib.closing(sqlite3.connect(backend.path)) as other:
        other.execute("PRAGMA wal_checkpoint(PASSIVE)")
    fill_folder(small_disk / "ballast")
    restarts: list[bool] = []

    def restart(self: Wal, connection: sqlite3.Connection, patience: float, *, truncate: bool = False) -> bool:
        restarts.append(truncate)  # other processes take the freed space at once
        return True

    monkeypatch.setattr(Wal, "restart", restart)
    async with asyncio.timeout(60):
        with pytest.raises(BackendError, match="full"):
            await backend.set_many({"more": b"v"}, ttl=600)
    assert restarts
    await backend.aclose()
