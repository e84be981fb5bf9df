"""When the log is looked into, and when not."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from cachecore_sqlite.file import wal
from tests.sqlite.children import running, write_and_wait

KEYS = [f"p:e:{number}" for number in range(20)]


async def test_log_that_another_process_uses_is_not_looked_into(tmp_path: Path) -> None:
    """It found the log sound, and a look would keep it from writing; once it is killed nobody answers for the log."""
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
