"""No room to write: a full disk, a limit on files, a read-only folder. Reading goes on, and writing comes back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import resource
import sqlite3
import subprocess
import time
import zlib
from collections.abc import Iterator
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from cachecore.errors import BackendError
from cachecore.options import MIB
from cachecore.testing.clocks import FakeClock
from cachecore_sqlite import SQLiteBackend, SQLiteOptions
from cachecore_sqlite.reserve import Reserve
from tests.sqlite.children import (
    call_when_told,
    fill_folder,
    read_only_folder,
    run_out_of_room,
    running,
)

ROOT = os.geteuid() == 0
PATIENT = SQLiteOptions(timeout=0.5)
LARGE = bytes(900_000)
"""There is room for it in the reserve, and nowhere else on the small disk."""


@pytest.fixture
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A file system of two megabytes, or as many as asked for, where this user may make one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    with _mounted(folder, "tmpfs", f"size={getattr(request, 'param', 2)}m"):
        yield folder


@contextlib.contextmanager
def _mounted(folder: Path, kind: str, option: str) -> Iterator[None]:
    if not ROOT or subprocess.run(["mount", "-t", kind, "-o", option, kind, str(folder)], check=False).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


async def _fill(backend: SQLiteBackend) -> dict[str, bytes]:
    """Write until the store says that it is full; return what it acknowledged."""
    stored: dict[str, bytes] = {}
    for number in range(3000):
        key, value = f"k{number}", b"%d" % number * 800
        try:
            await backend.set_many({key: value}, ttl=60)
        except BackendError:
            break
        stored[key] = value
    with pytest.raises(BackendError) as raised:
        await backend.set_many({"one more": bytes(2_000_000)}, ttl=60)
    assert raised.value.reason == "full"
    assert not raised.value.transient
    assert raised.value.__cause__ is not None
    return stored


@pytest.mark.parametrize("small_disk", [3], indirect=True)
async def test_full_disk(small_disk: Path) -> None:
    """Full: reads are right, writes say so, opening again works, and all is well once there is room."""
    path = small_disk / "cache.db"
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(700_000))
    backend = SQLiteBackend(path)
    stored = await _fill(backend)
    assert len(stored) > 50
    keys = list(stored)
    assert await backend.get_many(keys) == list(stored.values())
    fill_folder(ballast)
    assert await backend.get_many(keys) == list(stored.values())

    again = SQLiteBackend(path)
    assert await again.get_many(keys) == list(stored.values())
    with pytest.raises(BackendError):
        await again.set_many({"k": bytes(100_000)}, ttl=60)
    await again.aclose()
    await backend.aclose()

    alone = SQLiteBackend(path)  # the first one on the full disk, without the files SQLite wants
    assert await alone.get_many(keys) == list(stored.values())
    for number in range(10):
        assert await alone.delete_many([f"k{number}"]) == 1
    assert await alone.get_many(["k0", keys[-1]]) == [None, stored[keys[-1]]]
    ballast.unlink()
    await _until_set(alone, "after")
    assert await alone.get_many(["after", "k0", keys[-1]]) == [b"v", None, stored[keys[-1]]]
    await alone.aclose()


async def _until_set(backend: SQLiteBackend, key: str) -> None:
    """Set `key` until it is taken, which is tried now and then where there was no room."""
    async with asyncio.timeout(10):
        while True:
            with contextlib.suppress(BackendError):
                await backend.set_many({key: b"v"}, ttl=60)
                return
            await asyncio.sleep(0.01)


async def _ask(pipe: Connection, name: str, *arguments: object, **keywords: object) -> object:
    """Have another process make a call; return what it got, or the reason it failed."""
    pipe.send((name, arguments, keywords))
    return await asyncio.to_thread(pipe.recv)


async def _to_the_last_byte(backend: SQLiteBackend, ballast: Path) -> dict[str, bytes]:
    """Fill store and disk so that nothing more can be stored; return what the store acknowledged."""
    stored = await _fill(backend)
    fill_folder(ballast)
    refused = written = 0
    while refused < 6:
        try:
            await backend.set_many({f"filler {written}": b"f"}, ttl=60)
            stored[f"filler {written}"] = b"f"
            written, refused = written + 1, 0
        except BackendError:
            refused += 1
        fill_folder(ballast)
    return stored


async def test_deletions_on_a_disk_that_is_full_to_the_last_byte(small_disk: Path) -> None:
    """Two processes delete again and again, each sees what the other did, sets are `full`; with room all is well."""
    path, reserve, ballast = (small_disk / name for name in ("cache.db", "cache.db-reserve", "ballast"))
    ballast.write_bytes(bytes(300_000))
    backend = SQLiteBackend(path, options=PATIENT)
    stored = await _to_the_last_byte(backend, ballast)
    keys = list(stored)
    assert reserve.stat().st_size == MIB
    with running(call_when_told, str(path)) as (_, pipe):
        other = partial(_ask, pipe)
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
        os.truncate(ballast, ballast.stat().st_size - 80_000)  # the log must go before the reserve fits
        await _until_set(backend, "after")
        assert reserve.stat().st_size == MIB
        assert await other("get_many", ["after", keys[0]]) == [b"v", None]
        assert await other("delete_many", ["after"]) == 1
    assert await backend.get_many(["after", keys[20]]) == [None, stored[keys[20]]]
    await backend.aclose()


async def test_deletions_never_use_the_reserve_up(small_disk: Path) -> None:
    """They go on for longer than what it holds would last, and sets that come between never take its room."""
    backend = SQLiteBackend(small_disk / "cache.db", options=PATIENT)
    stored = await _to_the_last_byte(backend, small_disk / "ballast")
    keys = list(stored)
    for number in range(400):
        assert await backend.delete_many([keys[number % len(keys)]]) == (number < len(keys))
        with pytest.raises(BackendError, match="full"):
            await backend.set_many({"more": LARGE}, ttl=60)
    await backend.aclose()


async def test_deletions_and_sets_of_one_transaction(small_disk: Path) -> None:
    """On the full disk the sets are refused and the deletions go without them."""
    backend = SQLiteBackend(small_disk / "cache.db", options=PATIENT)
    stored = await _to_the_last_byte(backend, small_disk / "ballast")
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


async def _fill_in_batches(backend: SQLiteBackend) -> list[str]:
    """Write until the store is full; return the keys, shuffled, so that neighbours are on different pages."""
    keys: list[str] = []
    while True:
        batch = [f"{number:040d}" for number in range(len(keys), len(keys) + 32)]
        try:
            await backend.set_many({key: os.urandom(1700) for key in batch}, ttl=600)
        except BackendError:
            break
        keys += batch
    random.Random(1).shuffle(keys)
    return keys


@pytest.mark.parametrize("small_disk", [32], indirect=True)
async def test_deletions_that_are_larger_than_the_reserve(small_disk: Path) -> None:
    """Those of many keys are done in parts, and thousands of others go on behind them."""
    backend = SQLiteBackend(small_disk / "cache.db", options=PATIENT)
    keys = await _fill_in_batches(backend)
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
    """Once the reserve was given up, the room that it left is for them alone."""
    clock = FakeClock()
    backend = SQLiteBackend(small_disk / "cache.db", options=PATIENT, clock=clock)
    keys = await _fill_in_batches(backend)
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
    """They write over the log, which is not cut off while the reserve is gone."""
    backend = SQLiteBackend(small_disk / "cache.db", options=PATIENT)
    keys = await _fill_in_batches(backend)
    for key in keys[:400]:
        fill_folder(small_disk / "ballast")
        assert await backend.delete_many([key]) == 1
    await backend.aclose()


@contextlib.contextmanager
def _reading(path: str) -> Iterator[None]:
    """Somebody reads, so that the log cannot begin anew."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM entries").fetchone()
        yield


@pytest.mark.parametrize("small_disk", [12, 16], indirect=True)
@pytest.mark.parametrize(("keys", "size"), [(1, 200_000), (16, 1700), (50, 1500), (250, 3000)])
async def test_log_never_fills_the_disk_for_good(small_disk: Path, keys: int, size: int) -> None:
    """Refused while somebody reads from the log, sets work when that has ended: nobody has to delete anything."""
    backend = SQLiteBackend(small_disk / "cache.db", options=PATIENT)
    await backend.set_many({"first": b"v"}, ttl=600)
    with _reading(backend.path), pytest.raises(BackendError, match="full"):
        for number in range(9000):
            await backend.set_many({f"{number}:{n}": os.urandom(size) for n in range(keys)}, ttl=600)
    await _until_set(backend, "after")
    await backend.aclose()


@pytest.mark.parametrize("small_disk", [16], indirect=True)
async def test_reserve_lets_a_log_begin_anew_whose_room_others_took(small_disk: Path) -> None:
    """The file has to take what is in the log, and the disk is full of something else: sets work nevertheless."""
    backend = SQLiteBackend(small_disk / "cache.db", options=PATIENT)
    await backend.set_many({"first": b"v"}, ttl=600)
    with _reading(backend.path):
        for number in range(300):
            await backend.set_many({f"{number}": os.urandom(1700)}, ttl=600)
        fill_folder(small_disk / "ballast")
    await _until_set(backend, "after")
    assert (small_disk / "cache.db-reserve").stat().st_size == MIB
    await backend.aclose()


@pytest.mark.parametrize(("kind", "option"), [("ramfs", "mode=700"), ("tmpfs", "size=0"), ("tmpfs", "nr_inodes=4")])
async def test_disk_that_tells_no_size_or_has_no_inode_is_not_full(tmp_path: Path, kind: str, option: str) -> None:
    """Where nothing is known of the room, or there can be no reserve, it is for SQLite to say that there is none."""
    folder = tmp_path / "disk"
    folder.mkdir()
    with _mounted(folder, kind, option):
        backend = SQLiteBackend(folder / "cache.db", options=PATIENT)
        await backend.set_many({"first": b"v"}, ttl=600)
        with _reading(backend.path):
            for number in range(100):
                await backend.set_many({f"{number}": bytes(1700)}, ttl=600)
        assert (folder / "cache.db-reserve").exists() == ("inodes" not in option)
        await backend.aclose()


@pytest.mark.parametrize("small_disk", [16], indirect=True)
async def test_log_never_holds_more_than_the_file_can_take(small_disk: Path) -> None:
    """While somebody reads from it, sets are refused in time: once it may begin anew there is the room for that."""
    backend = SQLiteBackend(small_disk / "cache.db", options=PATIENT)
    await backend.set_many({"first": b"v"}, ttl=600)
    with _reading(backend.path):
        keys = await _fill_in_batches(backend)
    assert len(keys) > 1000
    for key in keys[:1000]:
        assert await backend.delete_many([key]) == 1
    await _until_set(backend, "after")
    await backend.aclose()


async def test_reserve_that_was_cut_short_is_completed(tmp_path: Path) -> None:
    """Whoever was killed while making it leaves a part, or an empty file."""
    reserve = tmp_path / "cache.db-reserve"
    backend = SQLiteBackend(tmp_path / "cache.db")
    await backend.set_many({"k": b"v"}, ttl=60)
    for length in (0, 70_000):
        before = reserve.read_bytes()
        assert len(before) == MIB
        os.truncate(reserve, length)
        os.utime(reserve, (0, 0))
        await backend.set_many({"k": b"v"}, ttl=60)
        assert reserve.stat().st_size == MIB
        assert reserve.read_bytes()[:length] == before[:length]
    await backend.aclose()


async def test_reserves_of_two_sizes(small_disk: Path) -> None:
    """Who wants a larger one completes it, or leaves it as it is without room; who wants a smaller one has it."""
    path = small_disk / "cache.db"
    path.touch()
    small, large = Reserve(str(path), MIB), Reserve(str(path), 16 * MIB)
    assert small.make()
    (small_disk / "ballast").write_bytes(bytes(1_500_000))
    assert not large.make()
    assert (small.is_there, large.is_there) == (True, False)
    assert os.stat(small.path).st_size == small.size
    (small_disk / "ballast").unlink()
    assert large.make()
    assert (small.is_there, large.is_there) == (True, True)
    assert small.give_up()
    assert not large.give_up()
    assert os.stat(small.path).st_size == small.size // 8
    assert (small.make(), large.make()) == (False, False)  # before whoever gave it up has used its room
    os.utime(small.path, (time.time() - 0.06,) * 2)
    assert small.make()
    assert small.release(small.size - 10)
    assert not small.release(11)
    assert os.stat(small.path).st_size == 10


async def test_reserve_takes_the_room_it_is_for(tmp_path: Path) -> None:
    """Neither a file system that packs nor one that leaves out what is zero stores it in less; small ones are small."""
    backend = SQLiteBackend(tmp_path / "cache.db", options=SQLiteOptions(max_bytes=4 * MIB))
    await backend.get_many(["k"])
    reserve = tmp_path / "cache.db-reserve"
    assert not reserve.exists()
    await backend.set_many({"k": b"v"}, ttl=60)
    found = reserve.stat()
    assert (found.st_size, found.st_blocks * 512) == (MIB // 4, MIB // 4)
    assert len(zlib.compress(reserve.read_bytes())) > 0.99 * found.st_size
    await backend.aclose()


@pytest.mark.parametrize("kind", ["file", "short file", "link", "folder"])
async def test_what_is_in_the_place_of_the_reserve_is_left_alone(small_disk: Path, kind: str) -> None:
    """Somebody else's file is neither written to nor followed nor removed; the store works without a reserve."""
    reserve, diary, ballast = (small_disk / name for name in ("cache.db-reserve", "diary", "ballast"))
    text = b"dear diary\n" * (10 if kind == "short file" else 100_000)
    match kind:
        case "link":
            diary.write_bytes(b"short")
            reserve.symlink_to(diary)
        case "folder":
            reserve.mkdir()
        case _:
            reserve.write_bytes(text)
    ballast.write_bytes(bytes(300_000))
    backend = SQLiteBackend(small_disk / "cache.db", options=PATIENT)
    stored = await _to_the_last_byte(backend, ballast)
    keys = list(stored)
    with contextlib.suppress(BackendError):
        await backend.delete_many(keys[:3])
    match kind:
        case "link":
            assert reserve.readlink() == diary
            assert diary.read_bytes() == b"short"
        case "folder":
            assert list(reserve.iterdir()) == []
        case _:
            assert reserve.read_bytes() == text
    ballast.unlink()
    await _until_set(backend, "after")
    assert await backend.get_many(["after"]) == [b"v"]
    await backend.aclose()


async def test_limit_below_the_reserve_is_no_reason_to_refuse(tmp_path: Path) -> None:
    """Where no file may get as large, the store works without one."""
    with running(call_when_told, str(tmp_path / "cache.db")) as (process, pipe):
        assert process.pid is not None
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (MIB // 2, MIB // 2))
        for number in range(3):
            assert await _ask(pipe, "set_many", {f"k{number}": b"v"}, ttl=60) is None
    assert not (tmp_path / "cache.db-reserve").exists()


async def test_reading_without_room_sees_the_writes_of_others(small_disk: Path) -> None:
    """What a process reads on a full disk, without locks, is not kept when another one writes."""
    path = small_disk / "cache.db"
    backend = SQLiteBackend(path)
    await backend.set_many({"k": b"old", "other": b"o"}, ttl=60)
    await backend.aclose()
    fill_folder(small_disk / "ballast")
    reader = SQLiteBackend(path)
    assert await reader.get_many(["k"]) == [b"old"]
    (small_disk / "ballast").unlink()
    writer = SQLiteBackend(path)
    await writer.set_many({"k": b"new"}, ttl=60)
    assert await reader.get_many(["k", "other"]) == [b"new", b"o"]
    await writer.aclose()
    assert await reader.get_many(["k", "other"]) == [b"new", b"o"]
    await reader.aclose()


async def test_limit_on_the_size_of_files(tmp_path: Path) -> None:
    """Past the limit writes are refused as full, reads go on, and writing works once the limit is lifted."""
    with running(run_out_of_room, str(tmp_path / "cache.db"), 600_000) as (_, pipe):
        reasons, wrong, after = await asyncio.to_thread(pipe.recv)
    assert reasons
    assert set(reasons) == {"full"}
    assert wrong == 0
    assert after == b"room"


async def test_read_only_folder(tmp_path: Path) -> None:
    """In a folder and a file that may only be read, reads are right and writes say why not."""
    folder = tmp_path / "folder"
    folder.mkdir()
    path = folder / "cache.db"
    backend = SQLiteBackend(path)
    await backend.set_many({"k": b"v"}, ttl=60)
    await backend.aclose()
    for parent in (folder, *folder.parents):
        if parent.owner() == folder.owner() and parent != Path("/tmp"):
            parent.chmod(parent.stat().st_mode | 0o055)
    path.chmod(0o444)
    folder.chmod(0o555)
    with running(read_only_folder, str(path)) as (_, pipe):
        found, reason, names = await asyncio.to_thread(pipe.recv)
    folder.chmod(0o755)
    assert found == [b"v", None]
    assert reason == "readonly"
    assert names == ["cache.db", "cache.db-reserve"]


async def test_bound_below_the_disk_never_fills_it(small_disk: Path) -> None:
    """With `max_bytes` below the room there is, writing goes on for ever."""
    backend = SQLiteBackend(small_disk / "cache.db", options=SQLiteOptions(max_bytes=1024 * 1024))
    for number in range(1500):
        await backend.set_many({f"k{number}": b"%d" % number * 800}, ttl=60)
    assert await backend.get_many(["k1499"]) == [b"1499" * 800]
    await backend.aclose()
