"""A folder that is removed under an open backend is made again by a write only: not by the feed, a read, or closing."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path

import pytest

from cachecore import Cache, SyncCache
from cachecore.contract import BackendError
from cachecore_sqlite import SQLiteBackend, SQLiteOptions


def remove(folder: Path) -> None:
    """Remove a folder, again if a thread of the store has made a log in it meanwhile."""
    while folder.exists():
        shutil.rmtree(folder, ignore_errors=True)


async def test_feed_reads_and_close_leave_it_removed(tmp_path: Path) -> None:
    """They find nothing there, as in a file that is empty."""
    folder = tmp_path / "of a test"
    backend = SQLiteBackend(folder / "a.db", options=SQLiteOptions(feed_interval=0.005, heartbeat=0.01))
    await backend.set_many({"k": b"v"}, ttl=60)
    events = backend.feed("")
    assert await anext(events) is not None
    remove(folder)
    for _ in range(30):  # at least as many looks of the feed
        assert await backend.get_many(["k"]) == [None]
        assert await backend.sizes(["k"]) == [0]
        assert [page async for page in backend.scan("")] == []
        await asyncio.sleep(0.005)
    await backend.aclose()
    assert not folder.exists()


async def test_write_makes_it_again(tmp_path: Path) -> None:
    folder = tmp_path / "of a test"
    backend = SQLiteBackend(folder / "a.db")
    await backend.set_many({"k": b"v"}, ttl=60)
    remove(folder)
    assert await backend.get_many(["k"]) == [None]
    await backend.set_many({"k": b"again"}, ttl=60)
    assert folder.exists()
    assert await backend.get_many(["k"]) == [b"again"]
    await backend.aclose()


async def test_closing_right_after_it_is_removed(tmp_path: Path) -> None:
    for number in range(5):
        folder = tmp_path / str(number)
        cache: Cache[str] = Cache(f"sqlite:///{folder}/a.db", ttl=60)
        await cache.set("q", "v")  # returns when it is written: an answer of `get_or_set` may be written behind it
        assert await cache.get("q") == "v"
        remove(folder)
        await cache.aclose()
        assert not folder.exists()


def test_cache_that_is_collected(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    """With neither noise nor a folder."""
    folder = tmp_path / "f"
    cache: SyncCache[str] = SyncCache(f"sqlite:///{folder}/a.db", ttl=60)
    for number in range(20):
        cache.set(number, "v")
        assert cache.get(number) == "v"
    remove(folder)
    cache.close()
    ends = time.monotonic() + 0.1
    while time.monotonic() < ends:
        assert not folder.exists()
    assert not recwarn.list


async def test_a_folder_that_cannot_be_made_is_no_empty_store(tmp_path: Path) -> None:
    """Each call says so: only a folder that was there is taken for empty when it is gone."""
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", Path("/proc/nowhere")):
        backend = SQLiteBackend(folder / "cache.db")
        with pytest.raises(BackendError):
            await backend.get_many(["k"])
        with pytest.raises(BackendError):
            await backend.set_many({"k": b"v"}, ttl=60)
        await backend.aclose()
