"""The file stays within its bounds: expiry, eviction and the end of the log, in small steps."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cachecore.contract.errors import BackendError
from cachecore.contract.options import MIB
from cachecore.testing.clocks import FakeClock
from cachecore_sqlite import SQLiteBackend, SQLiteOptions


def _bytes_on_disk(folder: Path) -> int:
    return sum((folder / name).stat().st_size for name in os.listdir(folder))


@pytest.mark.parametrize(
    ("size", "max_bytes"),
    [(300, 16 * MIB), (1_700, 16 * MIB), (30_000, 16 * MIB), (30, MIB), (1_700, MIB), (100_000, MIB), (1_700, 4 * MIB)],
)
async def test_size_on_disk_stays_within_its_bound(tmp_path: Path, size: int, max_bytes: int) -> None:
    """Three times `max_bytes` written: never more than 1.3 of it on disk, and most of it is used for what is newest."""
    options = SQLiteOptions(max_bytes=max_bytes, durability="process")
    backend = SQLiteBackend(tmp_path / "cache.db", options=options)
    number, largest = 0, 0
    while number * (size + 60) < 3 * options.max_bytes:
        items = {f"k{number + i:050d}": os.urandom(size) for i in range(max(1, 20_000 // size))}
        number += len(items)
        await backend.set_many(items, ttl=3600)
        largest = max(largest, _bytes_on_disk(tmp_path))
    assert largest <= 1.3 * options.max_bytes
    kept = [key async for page in backend.scan("k") for key in page]
    assert kept[-1] == f"k{number - 1:050d}"
    assert kept == [f"k{n:050d}" for n in range(number - len(kept), number)]
    # Of a small row most is its key, its hash and what SQLite adds.
    assert len(kept) * (size + 51) > (0.4 if size > 50 else 0.3) * options.max_bytes
    await backend.aclose()


@contextlib.contextmanager
def _readers(path: str, *, hold: float, rest: float) -> Iterator[None]:
    """Four connections that each read for `hold` seconds at a stretch, and rest for `rest` between."""
    done = threading.Event()

    def read() -> None:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=5)) as connection:
            while not done.is_set():
                connection.execute("BEGIN")
                connection.execute("SELECT count(*) FROM mark").fetchone()
                done.wait(hold)
                connection.execute("COMMIT")
                done.wait(rest)

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    try:
        yield
    finally:
        done.set()
        for reader in readers:
            reader.join()


@pytest.mark.parametrize(("hold", "rest"), [(0.004, 0.0015), (0.004, 0.0), (0.02, 0.0)])
async def test_log_keeps_to_the_bound_beside_readers_that_hardly_rest(tmp_path: Path, hold: float, rest: float) -> None:
    """However seldom nobody reads, the log never makes the store too large: at worst a set is refused as `full`."""
    options = SQLiteOptions(max_bytes=16 * MIB, durability="process")
    writer = SQLiteBackend(tmp_path / "cache.db", options=options)
    await writer.set_many({"k": b"v"}, ttl=3600)
    largest, reasons = 0, set()
    with _readers(writer.path, hold=hold, rest=rest):
        for number in range(300):
            items = {f"k{(number * 7 + one) % 200}": os.urandom(30_000) for one in range(4)}
            try:
                await writer.set_many(items, ttl=3600)
            except BackendError as error:
                reasons.add(error.reason)
            largest = max(largest, _bytes_on_disk(tmp_path))
    assert reasons <= {"full"}
    assert largest <= 1.3 * options.max_bytes
    await writer.set_many({"last": b"v"}, ttl=3600)
    assert _bytes_on_disk(tmp_path) <= 1.3 * options.max_bytes
    await writer.aclose()


async def test_reader_that_stays_has_sets_refused(tmp_path: Path) -> None:
    """Before the log gets too long, sets and swaps are `full`; reads and deletes work, and sets do when it has gone."""
    options = SQLiteOptions(max_bytes=4 * MIB, durability="process", timeout=5)
    writer, other = (SQLiteBackend(tmp_path / "cache.db", options=options) for _ in range(2))
    await writer.set_many({"first": b"v"}, ttl=3600)
    reader = sqlite3.connect(writer.path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM entries").fetchone()
    refused: BackendError | None = None
    for number in range(2_000):
        try:
            await (writer, other)[number % 2].set_many({f"k{number % 200}": os.urandom(10_000)}, ttl=3600)
        except BackendError as error:
            refused = error
            break
    assert refused is not None
    assert (refused.reason, refused.transient) == ("full", False)
    assert _bytes_on_disk(tmp_path) <= 1.3 * options.max_bytes
    with pytest.raises(BackendError, match="full"):
        await writer.swap("new", None, bytes(10_000), ttl=60)
    for number in range(50):
        assert await other.get_many([f"k{number}", "first"]) != [None, None]
        assert await writer.delete_many([f"k{number}"]) == 1
        assert await other.get_many([f"k{number}"]) == [None]
    reader.close()
    await writer.set_many({"after": b"v"}, ttl=3600)
    assert await other.get_many(["after", "first"]) == [b"v", b"v"]
    assert _bytes_on_disk(tmp_path) <= 1.3 * options.max_bytes
    await writer.aclose()
    await other.aclose()


async def test_what_goes_at_once_keeps_to_the_bound(tmp_path: Path) -> None:
    """All rows of a full small store expire: to remove them and to shorten the file takes no more of the log than fits.

    The file gets shorter all the same.
    """
    clock = FakeClock()
    options = SQLiteOptions(max_bytes=2 * MIB, timeout=3.0, durability="process")
    backend = SQLiteBackend(tmp_path / "cache.db", options=options, clock=clock)
    for number in range(2_500):
        await backend.set_many({f"old{number}": os.urandom(1_700)}, ttl=10 + number * 7919 % 100 / 100)
    clock.advance(12)
    largest = 0
    for number in range(800):
        await backend.set_many({f"new{number}": bytes(60)}, ttl=3600)
        largest = max(largest, _bytes_on_disk(tmp_path))
    assert largest <= 1.3 * options.max_bytes
    await backend.aclose()
    assert (tmp_path / "cache.db").stat().st_size < options.max_bytes / 2


async def test_deletions_keep_to_the_bound_when_they_can(tmp_path: Path) -> None:
    """A reader has let the log get as long as it may: when it has gone, many deletions begin the log anew first."""
    options = SQLiteOptions(max_bytes=MIB, timeout=3.0, durability="process")
    backend = SQLiteBackend(tmp_path / "cache.db", options=options)
    await backend.set_many({f"k{number}": os.urandom(1_700) for number in range(200)}, ttl=3600)
    with contextlib.closing(sqlite3.connect(backend.path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM entries").fetchone()
        with pytest.raises(BackendError, match="full"):
            while True:
                await backend.set_many({"k0": os.urandom(1_700)}, ttl=3600)
    largest = 0
    for start in range(0, 200, 40):
        assert await backend.delete_many([f"k{number}" for number in range(start, start + 40)]) == 40
        largest = max(largest, _bytes_on_disk(tmp_path))
    assert largest <= 1.3 * options.max_bytes
    await backend.aclose()


async def test_expired_rows_are_reclaimed_by_writes(tmp_path: Path) -> None:
    """Rows that nobody reads any more go away while others are written; the file gets smaller in the end."""
    clock = FakeClock()
    path = tmp_path / "cache.db"
    backend = SQLiteBackend(path, clock=clock)
    for start in range(0, 3000, 250):
        await backend.set_many({f"old{number}": bytes(2000) for number in range(start, start + 250)}, ttl=10)
    await backend.set_many({"ever": b"v"}, ttl=None)
    clock.advance(11)
    for number in range(200):
        await backend.set_many({f"new{number}": b"v"}, ttl=60)
    await backend.aclose()
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM entries").fetchone() == (201,)
    connection.close()
    assert path.stat().st_size < 2_000_000


async def test_memory_is_bounded_too() -> None:
    """`:memory:` evicts the oldest like a file."""
    backend = SQLiteBackend(":memory:", options=SQLiteOptions(max_bytes=MIB))
    for number in range(2000):
        await backend.set_many({f"k{number}": bytes(2000)}, ttl=None)
    assert await backend.get_many(["k0", "k1999"]) == [None, bytes(2000)]
    await backend.aclose()


async def test_value_over_the_bound_is_not_kept(tmp_path: Path) -> None:
    """A value of more than a tenth of the store evicts nobody but its own key."""
    backend = SQLiteBackend(tmp_path / "cache.db", options=SQLiteOptions(max_bytes=MIB))
    await backend.set_many({"small": b"s", "large": b"before"}, ttl=60)
    await backend.set_many({"large": bytes(MIB // 9)}, ttl=60)
    assert await backend.get_many(["small", "large"]) == [b"s", None]
    await backend.aclose()


async def test_log_of_changes_does_not_grow_for_ever(tmp_path: Path) -> None:
    """The feed's log keeps its newest megabyte only."""
    path = tmp_path / "cache.db"
    backend = SQLiteBackend(path, options=SQLiteOptions(durability="process"))
    for _ in range(100):
        await backend.set_many({f"{i:0200d}": b"v" for i in range(100)}, ttl=60)
    await backend.aclose()
    connection = sqlite3.connect(path)
    (size,) = connection.execute("SELECT sum(length(keys)) FROM changes").fetchone()
    connection.close()
    assert 0.9 * MIB < size < 1.2 * MIB
