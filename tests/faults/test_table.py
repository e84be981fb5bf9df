"""What each call does while the store is sick: every cell of the table in the documentation is a test."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest

from cachecore import Cache
from cachecore.errors import InvalidationPending
from cachecore.testing.proxy import Proxy
from cachecore.testing.servers import Server
from tests.conftest import SERVERS
from tests.faults.callers import answer, cache_at, filled, request, until
from tests.faults.kinds import FAULTS, Scene
from tests.sqlite.children import hold_lock, running

Does = Literal["computes", "default", "works", "raises", "either"]
STORED, NEW, WRITTEN, DELETED = 1, 500, 501, 2

# fault: (get_or_set of something new, get of something stored, set, delete, invalidate_tags)
REDIS: dict[str, tuple[Does, Does, Does, Does, Does]] = {
    "refused": ("computes", "default", "raises", "raises", "raises"),
    "killed": ("computes", "default", "raises", "raises", "raises"),
    "password demanded": ("computes", "default", "raises", "raises", "raises"),
    "out of clients": ("computes", "default", "raises", "raises", "raises"),
    "loading": ("computes", "default", "raises", "raises", "raises"),
    "busy with a script": ("computes", "default", "raises", "raises", "raises"),
    "frozen": ("computes", "default", "raises", "raises", "raises"),
    "silent network": ("computes", "default", "raises", "raises", "raises"),
    "replica without primary": ("computes", "default", "raises", "raises", "raises"),
    "read only": ("computes", "either", "raises", "raises", "raises"),
    "full": ("computes", "works", "raises", "either", "works"),
    "unable to save": ("computes", "either", "raises", "raises", "raises"),
    "flipped bits": ("computes", "default", "works", "works", "works"),
    "cut entries": ("computes", "default", "works", "works", "works"),
    "foreign text": ("computes", "default", "works", "works", "works"),
    "newer versions": ("computes", "default", "works", "works", "works"),
    "keys of another type": ("computes", "default", "works", "works", "works"),
}


async def check(cache: Cache[Any], call: str, does: Does) -> None:
    """Make one call and fail unless it does what the table says."""
    if call == "get_or_set":
        calls = 0

        async def factory() -> dict[str, Any]:
            nonlocal calls
            calls += 1
            return answer(NEW)

        assert await cache.get_or_set(request(NEW), factory) == answer(NEW)
        assert calls == 1
        found = await cache.lookup(request(NEW), factory)  # and again, whether or not it was stored
        assert found.value == answer(NEW)
        return
    if call == "get":
        got = await cache.get(request(STORED), "default")
        outcomes: dict[str, list[Any]] = {
            "default": ["default"],
            "works": [answer(STORED)],
            "either": ["default", answer(STORED)],
        }
        assert got in outcomes[does]
        return
    calls_of: dict[str, Callable[[], Any]] = {
        "set": lambda: cache.set(request(WRITTEN), answer(WRITTEN)),
        "delete": lambda: cache.delete(request(DELETED)),
        "invalidate_tags": lambda: cache.invalidate_tags("tag 3"),
    }
    try:
        await calls_of[call]()
        raised = False
    except InvalidationPending:
        raised = True
        assert cache.stats.pending > 0
    assert does == "either" or raised == (does == "raises")
    # Whatever it said, this process serves nothing old.
    gone = {"set": WRITTEN, "delete": DELETED, "invalidate_tags": 3}[call]
    assert await cache.get(request(gone)) in ((None, answer(WRITTEN)) if call == "set" else (None,))


CALLS = ("get_or_set", "get", "set", "delete", "invalidate_tags")


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", REDIS)
async def test_redis(name: str, call: str) -> None:
    with Server(SERVERS[max(SERVERS)]) as server, Proxy(server.port) as link:
        async with cache_at(link.url, l1_max_entries=0) as cache:
            await filled(cache, 10)
            with FAULTS[name][0](Scene(server, link, random.Random(1))):
                await check(cache, call, REDIS[name][CALLS.index(call)])
            await until(lambda: cache.stats.pending == 0)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with running(hold_lock, str(path), "write") as (_, pipe):
        assert pipe.recv() == "locked"
        yield
        pipe.send("end")
        assert pipe.recv() == "released"


@contextmanager
def _overwritten(path: Path) -> Iterator[None]:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.write(random.Random(1).randbytes(size))
    yield


@contextmanager
def _foreign_rows(path: Path) -> Iterator[None]:
    """Every value is damaged behind the library's back, in its own tables."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=5)
    with contextlib.closing(connection):
        (table,) = connection.execute("SELECT name FROM sqlite_master WHERE sql LIKE '%value%' LIMIT 1").fetchone()
        connection.execute(f"UPDATE {table} SET value = x'00' || value WHERE key LIKE 'cc:e:%'")
    yield


@contextmanager
def _full(path: Path) -> Iterator[None]:
    """The file system has no block left. The folder is a small one of its own."""
    ballast = path.parent / "ballast"
    file = os.open(ballast, os.O_WRONLY | os.O_CREAT)
    with contextlib.suppress(OSError):
        while True:
            os.write(file, bytes(4096))
    os.close(file)
    yield
    ballast.unlink()


SQLITE: dict[str, tuple[Callable[[Path], Any], tuple[Does, Does, Does, Does, Does]]] = {
    "locked": (_locked, ("computes", "works", "raises", "raises", "raises")),
    "full": (_full, ("computes", "works", "either", "either", "either")),
    "overwritten": (_overwritten, ("computes", "either", "either", "either", "either")),
    # Rows that do not fit their index make the file a damaged one: it is put aside, and a call may meet that moment.
    "foreign rows": (_foreign_rows, ("computes", "default", "either", "either", "either")),
}


@pytest.fixture
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    if "full" not in request.node.callspec.params.values():
        yield tmp_path
        return
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small], check=False).returncode:
        pytest.skip("needs the right to mount a small file system")
    yield small
    subprocess.run(["umount", "-l", small], check=True)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", SQLITE)
async def test_sqlite(name: str, call: str, folder: Path) -> None:
    fault, does = SQLITE[name]
    async with cache_at(f"sqlite:///{folder}/cache.db", l1_max_entries=0) as cache:
        await filled(cache, 10)
        with fault(folder / "cache.db"):
            await check(cache, call, does[CALLS.index(call)])
        await until(lambda: cache.stats.pending == 0)


@pytest.mark.parametrize("call", CALLS)
async def test_sqlite_without_a_folder(call: str, tmp_path: Path) -> None:
    """A file that cannot be opened."""
    does: tuple[Does, ...] = ("computes", "default", "raises", "raises", "raises")
    (tmp_path / "file").write_text("no folder")
    async with cache_at(f"sqlite:///{tmp_path}/file/cache.db", l1_max_entries=0) as cache:
        await check(cache, call, does[CALLS.index(call)])
