"""The reserve: how it is created, completed, given up, and told from files of other programs."""

from __future__ import annotations

import contextlib
import os
import resource
import time
import zlib
from pathlib import Path

import pytest

from cachecore.contract import BackendError
from cachecore.contract.options import MIB
from cachecore_sqlite import SQLiteBackend, SQLiteOptions
from cachecore_sqlite.space.reserve import Reserve
from tests.sqlite.children import call_when_told, running
from tests.sqlite.disks import ask, to_the_last_byte, until_set


async def test_reserve_that_was_cut_short_is_completed(tmp_path: Path) -> None:
    """A process killed while it creates the reserve leaves a part of it, or an empty file."""
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
    """A store that needs a larger one completes it, or leaves it as it is without space; a smaller need is met."""
    path = small_disk / "cache.db"
    path.touch()
    small, large = Reserve(str(path), MIB), Reserve(str(path), 16 * MIB)
    assert small.create()
    (small_disk / "ballast").write_bytes(bytes(1_500_000))
    assert not large.create()
    assert (small.is_usable, large.is_usable) == (True, False)
    assert os.stat(small.path).st_size == small.size
    (small_disk / "ballast").unlink()
    assert large.create()
    assert (small.is_usable, large.is_usable) == (True, True)
    assert small.give_up()
    assert not large.give_up()
    assert os.stat(small.path).st_size == small.size // 8
    assert (small.create(), large.create()) == (False, False)  # before the space that was given up is used
    os.utime(small.path, (time.time() - 0.06,) * 2)
    assert small.create()
    assert small.release(small.size - 10)
    assert not small.release(11)
    assert os.stat(small.path).st_size == 10


async def test_reserve_takes_the_room_it_is_for(tmp_path: Path) -> None:
    """No file system stores it in less, by compression or by omitting zeros; small stores have small ones."""
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
    """A file of another program is not written, followed or removed; the store works without a reserve."""
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
    backend = SQLiteBackend(small_disk / "cache.db", options=SQLiteOptions(timeout=0.4))
    stored = await to_the_last_byte(backend, ballast)
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
    await until_set(backend, "after")
    assert await backend.get_many(["after"]) == [b"v"]
    await backend.aclose()


async def test_limit_below_the_reserve_is_no_reason_to_refuse(tmp_path: Path) -> None:
    """Where no file may be that large, the store works without a reserve."""
    with running(call_when_told, str(tmp_path / "cache.db")) as (process, pipe):
        assert process.pid is not None
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (MIB // 2, MIB // 2))
        for number in range(3):
            assert await ask(pipe, "set_many", {f"k{number}": b"v"}, ttl=60) is None
    assert not (tmp_path / "cache.db-reserve").exists()
