"""No space to write: a full disk, a limit on files, a read-only folder. Reads go on, and writes return."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from cachecore.contract import BackendError
from cachecore_sqlite import SQLiteBackend, SQLiteOptions
from tests.sqlite.children import fill_folder, read_only_folder, run_out_of_room, running
from tests.sqlite.disks import fill, until_set


@pytest.mark.parametrize("small_disk", [3], indirect=True)
async def test_full_disk(small_disk: Path) -> None:
    """Reads are right, sets are refused, the file can be opened again, and all works once space is free."""
    path = small_disk / "cache.db"
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(700_000))
    backend = SQLiteBackend(path)
    stored = await fill(backend)
    assert len(stored) > 30  # a slow disk delays checkpoints, and the log takes more of the space
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

    alone = SQLiteBackend(path)  # opened on the full disk, without the files that SQLite creates
    assert await alone.get_many(keys) == list(stored.values())
    for number in range(10):
        assert await alone.delete_many([f"k{number}"]) == 1
    assert await alone.get_many(["k0", keys[-1]]) == [None, stored[keys[-1]]]
    ballast.unlink()
    await until_set(alone, "after")
    assert await alone.get_many(["after", "k0", keys[-1]]) == [b"v", None, stored[keys[-1]]]
    await alone.aclose()


async def test_reading_without_room_sees_the_writes_of_others(small_disk: Path) -> None:
    """A value read without locks on a full disk is not kept after another process has written."""
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
    """With read permission only, reads are right and writes fail with the reason."""
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
    """With `max_bytes` below the free space, writes never fail."""
    backend = SQLiteBackend(small_disk / "cache.db", options=SQLiteOptions(max_bytes=1024 * 1024))
    for number in range(1500):
        await backend.set_many({f"k{number}": b"%d" % number * 800}, ttl=60)
    assert await backend.get_many(["k1499"]) == [b"1499" * 800]
    await backend.aclose()
