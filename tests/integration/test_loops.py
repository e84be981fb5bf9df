"""One cache in several event loops, threads and processes, and for a long time."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from cachecore import Cache
from cachecore.testing.servers import Server
from tests.conftest import SERVERS

ROUNDS = 120


@pytest.fixture(params=["memory", "sqlite", "server"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty store of each kind."""
    if request.param == "memory":
        return "memory://"
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/cache.db"
    running: dict[str, Server] = request.getfixturevalue("running_servers")
    name = max(SERVERS)
    if name not in running:
        running[name] = Server(SERVERS[name])
        running[name].start()
    with Redis.from_url(running[name].url) as client:
        client.flushdb()
    return running[name].url


def test_one_loop_after_another(url: str) -> None:
    cache: Cache[Any] = Cache(url, ttl=60, backend_timeout=5)

    async def once(number: int) -> None:
        assert await cache.get_or_set("q", _saying("first")) == "first"
        assert await cache.get_or_set(number, _saying(number)) == number
        assert await cache.delete(number) is True
        await cache.invalidate_tags("t")
        assert (await cache.lookup(number)).outcome == "miss"

    for number in range(5):
        asyncio.run(once(number))
    assert cache.stats.factory_calls == 6
    assert cache.stats.backend_errors == {}
    asyncio.run(cache.aclose())


def _saying(value: Any) -> Any:
    async def say() -> Any:
        return value

    return say


@pytest.fixture
def handed_over_often() -> Iterator[None]:
    """Threads that never wait let the others go on after a millisecond, not five: more happens at the same time."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(0.001)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("handed_over_often")
@pytest.mark.parametrize("kind", ["set", "delete", "tags", "all"])
def test_no_thread_sees_what_another_has_acknowledged_to_be_gone(url: str, kind: str) -> None:
    """A reader who begins after the acknowledgement sees no older answer, neither in the store nor in memory."""
    cache: Cache[Any] = Cache(url, ttl=60, backend_timeout=5)
    acknowledged, begun, ended = [-1], threading.Event(), threading.Event()
    wrong: list[tuple[int, int]] = []

    async def write() -> None:
        begun.wait(60)
        for number in range(ROUNDS):
            if kind != "set":
                await cache.set("q", number, tags=["t"])
            if kind == "delete":
                await cache.delete("q")
            elif kind == "tags":
                await cache.invalidate_tags("t")
            elif kind == "all":
                await cache.invalidate_all()
            else:
                await cache.set("q", number)
            acknowledged[0] = number

    oldest: Callable[[int], int] = (lambda n: n) if kind == "set" else (lambda n: n + 1)

    async def read() -> None:
        while not ended.is_set():
            before = acknowledged[0]
            seen = await cache.get("q")
            begun.set()
            if seen is not None and seen < oldest(before):
                wrong.append((before, seen))
            before = acknowledged[0]
            seen = cache.peek("q")
            if seen is not None and seen < oldest(before):
                wrong.append((before, seen))

    with ThreadPoolExecutor(3) as pool:
        reading = [pool.submit(asyncio.run, read()) for _ in range(2)]
        try:
            pool.submit(asyncio.run, write()).result(120)
        finally:
            ended.set()
        for one in reading:
            one.result(60)
    assert wrong == []
    assert acknowledged == [ROUNDS - 1]
    asyncio.run(cache.aclose())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_trusts_nothing_of_its_parents(url: str) -> None:
    """No copies in memory, no flight, no connection; and the parent goes on."""
    cache: Cache[Any] = Cache(url, ttl=60, backend_timeout=5)

    async def parent() -> None:
        await cache.set("q", "parent")
        async with asyncio.timeout(60):
            while cache.peek("q") != "parent":  # the feed of this loop comes to life first
                assert await cache.get("q") == "parent"
        child = os.fork()
        if child == 0:  # pragma: no cover - another process
            code = 1
            try:
                code = _in_child(cache)
            finally:
                os._exit(code)
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert await cache.get("q") == "parent"
        own = url.startswith("memory")
        assert await cache.get_or_set("new", _saying("parent")) == ("parent" if own else "child")
        await cache.aclose()

    asyncio.run(parent())


def _in_child(cache: Cache[Any]) -> int:
    if cache.peek("q") is not None or cache.stats.l1_entries:
        return 2
    if asyncio.run(cache.get("q")) != "parent":
        return 3
    if asyncio.run(_stored(cache)) != "child":
        return 4
    return 5 if cache.stats.backend_errors else 0


async def _stored(cache: Cache[Any]) -> Any:
    """Ask and wait until the answer is stored: it is handed out before that, and the process ends right after."""
    said = await cache.get_or_set("new", _saying("child"))
    async with asyncio.timeout(60):
        while not cache.stats.stored:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.001)
    return said


def test_hits_cost_no_memory() -> None:
    """Thirty thousand of them, six thousand in each of the ways of asking."""
    cache: Cache[Any] = Cache("memory://", ttl=3600, l1_max_age=3600)

    @cache.cached
    async def ask(q: str) -> list[str]:
        return [q]

    async def hit(times: int) -> None:
        for _ in range(times):
            await cache.get("text")
            await cache.get_or_set("text", _never)
            cache.peek("list")
            await ask("a")
            await ask(q="a")

    async def main() -> None:
        await cache.set("text", "value")
        await cache.set("list", ["value"])
        await hit(1000)
        gc.collect()
        tracemalloc.start()
        try:
            await hit(1000)
            growth = []
            for _ in range(3):
                before, _ = tracemalloc.get_traced_memory()
                await hit(2000)
                gc.collect()
                growth.append(tracemalloc.get_traced_memory()[0] - before)
        finally:
            tracemalloc.stop()
        assert min(growth) < 2000  # the threads of earlier tests may end meanwhile
        assert cache.stats.hits_l1 == 5 * 8000 - 1

    asyncio.run(main())


async def _never() -> Any:
    raise AssertionError("a hit calls no factory")


_DROPPED_LOOPS = """
import asyncio, gc, os, sys, time, weakref
from cachecore import Cache

async def answer():
    return 1

cache = Cache(sys.argv[1], ttl=60, backend_timeout=5)
ends = []

def ask_in_a_new_loop(number):
    loop = asyncio.new_event_loop()
    loop.run_until_complete(cache.get_or_set(number, answer))
    loop.run_until_complete(cache.invalidate_tags("t"))
    ends.append(weakref.ref(loop))

ask_in_a_new_loop(0)
gc.collect()
files = len(os.listdir("/proc/self/fd"))
for number in range(1, 11):
    ask_in_a_new_loop(number)
limit = time.monotonic() + 20
while any(end() for end in ends) and time.monotonic() < limit:  # a thread of the store may be at work for one
    gc.collect()
    time.sleep(0.01)
print("alive", sum(end() is not None for end in ends), "files", len(os.listdir("/proc/self/fd")) - files)
asyncio.run(cache.aclose())
"""


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are counted in /proc")
def test_loops_dropped_unclosed_are_freed_with_their_connections(url: str) -> None:
    """And nothing complains but Python, of the loops and sockets that the program did not close."""
    command = [sys.executable, "-W", "ignore::ResourceWarning", "-c", _DROPPED_LOOPS, url]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    _, alive, _, files = ended.stdout.split()
    assert int(alive) == 0
    assert int(files) < 10, "fewer than loops: a thread of the store may have opened its own meanwhile"
    assert ended.stderr == ""
