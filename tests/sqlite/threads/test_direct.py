"""Reads in the thread of the caller: right or not made, and after a doubt left to the reading threads for a second."""

from __future__ import annotations

import asyncio
import math
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cachecore.contract import BackendUnavailable
from cachecore.testing.clocks import FakeClock
from cachecore_sqlite import SQLiteBackend, SQLiteOptions
from cachecore_sqlite.file import open_files
from cachecore_sqlite.file.locality import is_local, kind_of
from cachecore_sqlite.table import rows
from cachecore_sqlite.threads import direct
from tests.sqlite.children import running, write_when_told

pytestmark = pytest.mark.skipif(not is_local(os.path.realpath("/tmp")), reason="the disk is not known to be local")


@pytest.fixture(autouse=True)
def never_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine any read may be slow; here none is, unless the test says so."""
    monkeypatch.setattr(direct, "SLOW_SECONDS", math.inf)


async def _ready(backend: SQLiteBackend, key: str = "k") -> None:
    """Read until the connection of callers is open."""
    limit = time.monotonic() + 60
    while backend.read_now([key]) is None:
        assert time.monotonic() < limit
        backend._pool.direct._rests_until = 0.0
        await backend.get_many([key])


async def test_values_are_those_of_the_threads(tmp_path: Path) -> None:
    """Promise: the live values in the order of the keys, answered within the call; the first read goes to a thread."""
    clock = FakeClock()
    backend = SQLiteBackend(tmp_path / "cache.db", clock=clock)
    items = {f"k{number}": b"%d" % number * number for number in range(100)}
    await backend.set_many(items, ttl=60)
    await backend.set_many({"short": b"lived"}, ttl=5)
    await backend.set_many({"lasting": b""}, ttl=None)
    assert backend.read_now(["k1"]) is None
    await _ready(backend)
    clock.advance(10)
    for keys in (["k3"], ["k3", "none"], ["k5", "k3", "k5"], ["short", "lasting"], [*items, "none"]):
        future = asyncio.ensure_future(backend.get_many(keys))
        assert future.done()
        lengths = backend._pool.direct.sizes(keys)
        assert lengths == await backend.sizes(keys) == [len(value or b"") for value in future.result()]
        assert future.result() == [items.get(key, b"" if key == "lasting" else None) for key in keys]
    too_many = [f"k{number}" for number in range(direct.MOST_KEYS + 1)]
    assert backend.read_now(too_many) is None
    assert len(await backend.get_many(too_many)) == direct.MOST_KEYS + 1
    await backend.aclose()


async def test_a_write_is_seen_by_the_next_read(tmp_path: Path) -> None:
    """An acknowledged write, of this process or of another, is what the next read in this thread returns."""
    path, patient = str(tmp_path / "cache.db"), SQLiteOptions(timeout=20)
    backend = SQLiteBackend(path, options=patient)
    await backend.set_many({"k": b""}, ttl=60)
    await _ready(backend)
    for number in range(100):
        await backend.set_many({"k": b"%d" % number}, ttl=60)
        assert backend.read_now(["k"]) == [b"%d" % number]
    other = SQLiteBackend(path, options=patient)
    for number in range(100):
        await other.swap("k", backend.read_now(["k"])[0], b"other %d" % number, ttl=60)  # type: ignore[index]  # it is ready
        assert backend.read_now(["k"]) == [b"other %d" % number]
    await other.delete_many(["k"])
    assert backend.read_now(["k"]) == [None]
    with running(write_when_told, path) as (_, pipe):
        pipe.send("told")
        limit = time.monotonic() + 60
        while backend.read_now(["told"]) == [None]:
            assert time.monotonic() < limit
            await asyncio.sleep(0.001)
    await other.aclose()
    await backend.aclose()


async def test_large_values_are_left_to_the_threads(tmp_path: Path) -> None:
    """A large value is not read in the caller's thread; the small ones around it still are."""
    backend = SQLiteBackend(tmp_path / "cache.db")
    large = bytes(rows.LARGE + 1)
    await backend.set_many({"k": b"v", "just": bytes(rows.LARGE), "large": large}, ttl=60)
    await _ready(backend)
    assert backend.read_now(["large"]) is None
    assert backend.read_now(["k", "large"]) is None
    assert await backend.get_many(["k", "large"]) == [b"v", large]
    assert backend.read_now(["k", "just"]) == [b"v", bytes(rows.LARGE)]
    await backend.aclose()


async def test_damaged_row_is_left_to_the_threads(tmp_path: Path) -> None:
    """A row that does not match its checksum is never returned, is repaired by the threads, and brings a rest."""
    path = tmp_path / "cache.db"
    backend = SQLiteBackend(path)
    await backend.set_many({"k": b"value", "other": b"v"}, ttl=60)
    await _ready(backend, "other")
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE entries SET value = 'wrong' WHERE key = 'k'")
    connection.close()
    assert backend.read_now(["k"]) is None
    assert backend.read_now(["other"]) is None
    assert await backend.get_many(["k", "other"]) == [None, b"v"]
    await backend.set_many({"after": b""}, ttl=60)  # behind the repair, which the reading thread has left to the writer
    await _ready(backend, "other")
    assert backend.read_now(["k", "other"]) == [None, b"v"]
    await backend.aclose()


@pytest.mark.parametrize("new", [False, True], ids=["deleted", "replaced"])
async def test_replaced_file_is_left_to_the_threads(tmp_path: Path, new: bool) -> None:
    """After the file was deleted or replaced nothing of the old one is returned."""
    path = tmp_path / "cache.db"
    before = open_files._connected.copy()
    other = SQLiteBackend(tmp_path / "other.db")
    await other.set_many({"k": b"new"}, ttl=60)
    await other.aclose()
    backend = SQLiteBackend(path)
    await backend.set_many({"k": b"old"}, ttl=60)
    await _ready(backend)
    for suffix in ("", "-wal", "-shm"):
        os.unlink(f"{path}{suffix}")
    if new:
        os.rename(tmp_path / "other.db", path)
    assert backend.read_now(["k"]) is None
    assert await backend.get_many(["k"]) == [b"new" if new else None]
    await _ready(backend)
    assert backend.read_now(["k"]) == [b"new" if new else None]
    await backend.aclose()
    assert not open_files._connected - before


async def test_any_error_is_left_to_the_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in a caller's thread is no error of the call: the threads answer, for a second at least."""
    before = open_files._connected.copy()
    backend = SQLiteBackend(tmp_path / "cache.db")
    await backend.set_many({"k": b"v"}, ttl=60)
    await _ready(backend)

    def locked(*_: Any) -> None:
        error = sqlite3.OperationalError("database is locked")
        error.sqlite_errorcode = sqlite3.SQLITE_BUSY
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(rows, "read_few", locked)
        assert await backend.get_many(["k"]) == [b"v"]
    assert backend.read_now(["k"]) is None
    assert await backend.get_many(["k"]) == [b"v"]
    await _ready(backend)
    await backend.aclose()
    assert not open_files._connected - before


async def test_a_read_from_a_slow_disk_brings_a_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow read that waited for the disk sends those of the next second to the threads; a busy processor does not."""
    backend = SQLiteBackend(tmp_path / "cache.db")
    await backend.set_many({"k": b"v"}, ttl=60)
    reads = backend._pool.direct
    await _ready(backend)
    monkeypatch.setattr(direct, "SLOW_SECONDS", -1.0)
    monkeypatch.setattr(reads, "_waited_for_disk", lambda: False)
    assert [backend.read_now(["k"]), backend.read_now(["k"])] == [[b"v"], [b"v"]]
    monkeypatch.setattr(reads, "_waited_for_disk", lambda: True)
    before = time.perf_counter()
    assert [backend.read_now(["k"]), backend.read_now(["k"])] == [[b"v"], None]
    assert reads._rests_until >= before + direct.REST_SECONDS
    assert await backend.get_many(["k"]) == [b"v"]
    await backend.aclose()


async def test_other_disks_are_read_by_the_threads_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that may be on a network file system is never read in a caller's thread."""
    monkeypatch.setattr(direct, "is_local", lambda path: False)
    backend = SQLiteBackend(tmp_path / "cache.db")
    await backend.set_many({"k": b"v"}, ttl=60)
    for _ in range(20):
        assert backend.read_now(["k"]) is None
        backend._pool.direct._rests_until = 0.0
        assert await backend.get_many(["k"]) == [b"v"]
    await backend.aclose()


MOUNTS = """22 28 0:21 / /proc rw,nosuid shared:5 - proc proc rw
28 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 28 0:40 / /srv/shared\\040files rw,relatime - nfs4 server:/files rw
41 40 8:2 / /srv/shared\\040files/local rw,relatime master:7 - xfs /dev/sdb1 rw
42 28 0:43 / /home rw - btrfs /dev/sdc rw
43 42 0:44 / /home rw - fuse.sshfs host:/home rw
44 28
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/cache.db", "ext4"),
        ("/srv/shared files/cache.db", "nfs4"),
        ("/srv/shared files/local/cache.db", "xfs"),
        ("/srv/shared files/localised/cache.db", "nfs4"),
        ("/home/cache.db", "fuse.sshfs"),
        ("/homes/cache.db", "ext4"),
    ],
)
def test_the_file_system_of_a_path(path: str, kind: str) -> None:
    """The deepest mount point above a path counts, and of two at one place the later one."""
    assert kind_of(path, MOUNTS) == kind
    assert not is_local("/proc/self/no.db")


async def test_closed_backend_reads_nothing(tmp_path: Path) -> None:
    """After closing, no connection is left and no read is made; the call says why."""
    before = open_files._connected.copy()
    backend = SQLiteBackend(tmp_path / "cache.db")
    await backend.set_many({"k": b"v"}, ttl=60)
    await _ready(backend)
    await backend.aclose()
    assert backend.read_now(["k"]) is None
    with pytest.raises(BackendUnavailable):
        await backend.get_many(["k"])
    assert sorted(os.listdir(tmp_path)) == ["cache.db", "cache.db-reserve"]
    assert not open_files._connected - before


def _in_child(check: Callable[[], bool]) -> int:
    """Fork; return the exit status of a child that runs `check`: 0 if it returned True."""
    child = os.fork()
    if not child:
        status = 1
        try:
            status = 0 if check() else 2
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _open_here(folder: Path) -> bool:
    """Return whether this process has a database of `folder` open."""
    names = []
    for number in os.listdir("/proc/self/fd"):
        try:
            names.append(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:
            continue
    return any(name.startswith(str(folder)) for name in names)


def test_a_fork_inherits_no_connection(tmp_path: Path) -> None:
    """No connection is open during a fork; afterwards parent and child read on connections of their own."""
    backend = SQLiteBackend(tmp_path / "cache.db")

    async def use() -> bool:
        await backend.set_many({"k": b"v"}, ttl=60)
        await _ready(backend)
        return backend.read_now(["k"]) == [b"v"]

    assert asyncio.run(use())
    for _ in range(5):
        assert _in_child(lambda: not _open_here(tmp_path) and backend.read_now(["k"]) is None) == 0
        assert asyncio.run(use())
        assert _in_child(lambda: asyncio.run(use())) == 0
        assert asyncio.run(use())
    asyncio.run(backend.aclose())


def test_a_fork_in_the_midst_of_a_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise of the lock: where a signal handler forks in a read, that read is made again by a thread, in both."""
    before = open_files._connected.copy()
    backend = SQLiteBackend(tmp_path / "cache.db")
    read_few, status = rows.read_few, []

    def forking(connection: sqlite3.Connection, *arguments: Any) -> Any:
        monkeypatch.setattr(rows, "read_few", read_few)
        status.append(_in_child(lambda: not _open_here(tmp_path)))
        return read_few(connection, *arguments)

    async def use() -> None:
        await backend.set_many({"k": b"v"}, ttl=60)
        await _ready(backend)
        monkeypatch.setattr(rows, "read_few", forking)
        assert await backend.get_many(["k"]) == [b"v"]
        assert status == [0]
        await _ready(backend)
        await backend.aclose()

    asyncio.run(use())
    assert not open_files._connected - before


def test_threads_read_while_others_write(tmp_path: Path) -> None:
    """Three threads read by themselves while values are replaced: each sees whole values, and never an older one.

    Two keys are written in one transaction; a read of both never sees them differ.
    """
    before = open_files._connected.copy()
    backend = SQLiteBackend(tmp_path / "cache.db")
    made, wrong, ended = [0] * 3, [], threading.Event()

    def read(number: int) -> None:
        last = 0
        while not ended.is_set():
            values = backend.read_now(["a", "b"])
            if values is None:
                backend._pool.direct._rests_until = 0.0
                values = asyncio.run(_asked(backend))
            else:
                made[number] += 1
            if values[0] != values[1] or int(values[0] or b"-1") < last:
                wrong.append(values)
            last = int(values[0] or b"-1")

    async def write() -> None:
        await backend.set_many({"a": b"0" * 900, "b": b"0" * 900}, ttl=60)
        for thread in threads:
            thread.start()
        number = 0
        limit = time.monotonic() + 60
        while sum(made) < 1000 and time.monotonic() < limit:
            number += 1
            await backend.set_many(dict.fromkeys("ab", b"%0900d" % number), ttl=60)
        ended.set()

    threads = [threading.Thread(target=read, args=(number,)) for number in range(3)]
    asyncio.run(write())
    for thread in threads:
        thread.join()
    assert not wrong
    assert sum(made) >= 1000
    asyncio.run(backend.aclose())
    assert not open_files._connected - before


async def _asked(backend: SQLiteBackend) -> list[bytes | None]:
    return await backend.get_many(["a", "b"])
