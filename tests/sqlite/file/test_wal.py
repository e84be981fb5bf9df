"""The check of the WAL, and the cases in which it is skipped."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from cachecore_sqlite.file import wal
from tests.sqlite.children import running, write_and_wait

KEYS = [f"p:e:{number}" for number in range(20)]


async def test_log_that_another_process_uses_is_not_looked_into(tmp_path: Path) -> None:
    """That process has checked the WAL, a second check would block its writes; after its death the WAL is checked."""
    path = str(tmp_path / "cache.db")
    assert wal.read_committed(path) is None
    assert not wal.is_open(path)
    with running(write_and_wait, path, KEYS) as (process, pipe):
        assert await asyncio.to_thread(pipe.recv) == "written"
        assert wal.is_open(path)
        process.kill()
        process.join()
        assert not wal.is_open(path)
        found = wal.read_committed(path)
        assert found is not None
        assert found.frames > len(KEYS)
        os.chmod(path + "-shm", 0o400)
        assert not wal.is_open(path)
