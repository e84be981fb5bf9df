"""Other processes at the same file: writing at once, locking it for long, counting together."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from cachecore.contract import BackendTimeout
from cachecore_sqlite import SQLiteBackend, SQLiteOptions
from tests.sqlite.children import count_up, hold_lock, running, write_much


@pytest.mark.parametrize("kind", ["write", "all"])
async def test_locked_file_holds_nobody_up(tmp_path: Path, kind: str) -> None:
    """While another process holds the lock, each call ends by its deadline; afterwards all calls work."""
    path = str(tmp_path / "cache.db")
    backend = SQLiteBackend(path)
    await backend.set_many({"k": b"v"}, ttl=60)
    if kind == "all":
        await backend.aclose()  # SQLite gives no exclusive lock on a file that is in use
        backend = SQLiteBackend(path)
    # A read beside a writer waits for no lock, but opening the file may, on a busy machine for longer than 40 ms.
    reader = SQLiteBackend(path, options=SQLiteOptions(timeout=20)) if kind == "write" else backend
    with running(hold_lock, path, kind) as (_, pipe):
        assert await asyncio.to_thread(pipe.recv) == "locked"
        for _ in range(10):
            calls = (
                backend.set_many({"k2": b"v"}, ttl=60),
                backend.swap("k3", None, b"v", ttl=60),
                backend.delete_many(["k4"]),
                reader.get_many(["k"]),
            )
            async with asyncio.timeout(60):  # the lock is held until all of them have ended
                *writes, read = await asyncio.gather(*calls, return_exceptions=True)
            for error in writes:
                assert isinstance(error, BackendTimeout)
                assert error.reason == "locked"
                assert error.__cause__ is not None
            if kind == "write":
                assert read == [b"v"]
            else:
                assert isinstance(read, BackendTimeout)
        pipe.send("end")
        assert await asyncio.to_thread(pipe.recv) == "released"
    await backend.set_many({"k2": b"after"}, ttl=60)
    assert await reader.get_many(["k", "k2", "k3"]) == [b"v", b"after", None]
    await reader.aclose()
    await backend.aclose()


async def test_four_processes_write_at_once_without_an_error(tmp_path: Path) -> None:
    """Four writers on one file get every write acknowledged, and nothing is lost among them."""
    path = str(tmp_path / "cache.db")
    with (
        running(write_much, path, "a", 150) as (_, a),
        running(write_much, path, "b", 150) as (_, b),
        running(write_much, path, "c", 150) as (_, c),
        running(write_much, path, "d", 150) as (_, d),
    ):
        pipes = (a, b, c, d)
        for pipe in pipes:
            pipe.send("go")
        assert await asyncio.gather(*(asyncio.to_thread(pipe.recv) for pipe in pipes)) == [0, 0, 0, 0]
    backend = SQLiteBackend(path)
    found = [key async for page in backend.scan("") for key in page]
    assert len(found) == 4 * (75 + 75 * 4)
    await backend.aclose()


async def test_swap_is_atomic_between_processes(tmp_path: Path) -> None:
    """Three processes that count by swap lose no step."""
    path = str(tmp_path / "cache.db")
    with (
        running(count_up, path, "n", 100) as (_, a),
        running(count_up, path, "n", 100) as (_, b),
        running(count_up, path, "n", 100) as (_, c),
    ):
        for pipe in (a, b, c):
            pipe.send("go")
        await asyncio.gather(*(asyncio.to_thread(pipe.recv) for pipe in (a, b, c)))
    backend = SQLiteBackend(path)
    assert await backend.get_many(["n"]) == [b"300"]
    await backend.aclose()
