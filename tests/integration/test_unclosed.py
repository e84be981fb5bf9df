"""Caches that are never closed: nothing of them is left, and a warning names each but the first of a process.

A script makes one and forgets it, which harms nothing. One that is made for each call is a leak.
"""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import pytest

from cachecore import Cache, SyncCache
from cachecore.testing.servers import Server
from tests.conftest import SERVERS

MADE = 20


_SCRIPT = """
import asyncio, gc, sys
from cachecore import Cache, SyncCache

async def main():
    for _ in range(int(sys.argv[2])):
        cache = Cache(sys.argv[1], namespace="unclosed", ttl=60)
        assert await cache.get_or_set("q", lambda: asyncio.sleep(0.01, "v")) == "v"
        del cache
        gc.collect()

asyncio.run(main())
sync = SyncCache(sys.argv[1], namespace="unclosed", ttl=60)
assert sync.get_or_set("q", lambda: "v") == "v"
"""


async def say() -> str:
    return "v"


async def drop_one(url: str) -> None:
    """Drop an unclosed cache, so that those which follow are not the first of this process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        await Cache(url, namespace="unclosed", ttl=60, backend_timeout=5).get_or_set("q", say)
        gc.collect()


async def left_over(before: tuple[int, int]) -> tuple[int, int]:
    """Return how many tasks and open files there are more than before, once they are none or some time has passed."""
    loop = asyncio.get_running_loop()
    limit = loop.time() + 30
    while True:
        gc.collect()
        now = (len(asyncio.all_tasks()) - before[0], len(os.listdir("/proc/self/fd")) - before[1])
        if max(now) <= 0 or loop.time() > limit:
            return now
        await asyncio.sleep(0.01)


@pytest.fixture(params=["sqlite", "server"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/cache.db"
    running: dict[str, Server] = request.getfixturevalue("running_servers")
    name = max(SERVERS)
    if name not in running:
        running[name] = Server(SERVERS[name])
        running[name].start()
    return running[name].url


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are counted in /proc")
async def test_caches_made_for_each_call_leave_nothing_and_are_warned_of(url: str) -> None:
    async def helper(number: int) -> str:
        cache: Cache[Any] = Cache(url, namespace="unclosed", ttl=60, backend_timeout=5)
        value: str = await cache.scoped("n").get_or_set(number, say)
        return value

    async with Cache(url, namespace="unclosed", ttl=60, backend_timeout=5) as first:  # what the process opens once
        await first.get_or_set("q", say)
    before = (len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd")))
    await drop_one(url)
    with pytest.warns(ResourceWarning, match="unclosed cache on") as said:  # noqa: PT031 - at any moment
        for number in range(MADE):
            assert await helper(number) == "v"
        gc.collect()
        assert max(await left_over(before)) <= 0
    assert len([one for one in said if "unclosed cache" in str(one.message)]) == MADE


@pytest.mark.parametrize("made", [1, 3])
def test_script_that_makes_one_cache_ends_without_a_word(made: int, url: str) -> None:
    """A warning names each further cache, and none comes from the one that lives until the interpreter ends."""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", _SCRIPT, url, str(made)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith("Executing <")]  # asyncio's slow steps
    assert len([line for line in lines if "unclosed cache on" in line]) == made - 1
    assert made > 1 or lines == []


_DAEMONS = """
import itertools, sys, threading
from cachecore import SyncCache

cache = SyncCache(sys.argv[1], namespace="daemons", ttl=60, backend_timeout=5)
held, computing, asked = threading.Event(), threading.Event(), threading.Semaphore(0)

@cache.cached
def hold(n: int) -> int:
    computing.set()
    held.wait()
    return n

@cache.cached
def quick(n: int) -> int:
    asked.release()
    return n

def asks() -> None:
    for n in itertools.count():
        quick(n)

for work in (lambda: hold(1), lambda: hold(1), asks, asks):
    threading.Thread(target=work, daemon=True).start()
assert computing.wait(30)
for _ in range(50):
    assert asked.acquire(timeout=30)
"""


def test_daemon_threads_end_with_the_program_without_a_word(url: str) -> None:
    """Those that compute, that wait for another thread's computation, and that ask while the interpreter ends."""
    done = subprocess.run(
        [sys.executable, "-c", _DAEMONS, url], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


async def test_view_keeps_its_cache_open(url: str) -> None:
    """What matters is whether any view is left, not the object that was made first."""
    view = Cache(url, namespace="unclosed", ttl=60, backend_timeout=5).scoped("v")
    gc.collect()
    assert await view.get_or_set("q", say) == "v"
    gc.collect()
    assert await view.get("q") == "v"
    await view.aclose()


async def test_closed_cache_and_memory_end_without_a_word() -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        cache: Cache[Any] = Cache("memory://", ttl=60)
        await cache.get_or_set("q", say)
        del cache
        gc.collect()
        await asyncio.sleep(0)
    assert [one for one in said if "cache" in str(one.message)] == []


def test_sync_caches_made_for_each_call_leave_no_thread(url: str) -> None:
    def helper(number: int) -> str:
        cache: SyncCache[Any] = SyncCache(url, namespace="unclosed", ttl=60, backend_timeout=5)
        value: str = cache.get_or_set(number, lambda: "v")
        return value

    before = set(threading.enumerate())
    with pytest.warns(ResourceWarning, match="unclosed cache on"):  # noqa: PT031 - at any moment
        for number in range(5):
            assert helper(number) == "v"
        limit = time.monotonic() + 20
        while (left := set(threading.enumerate()) - before) and time.monotonic() < limit:
            gc.collect()
            next(iter(left)).join(0.05)
    assert {thread.name for thread in left} == set()
