"""Invalidations on real servers that freeze, die and come back old, by processes that are killed in between."""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from cachecore import Cache, InvalidationPending
from cachecore.testing.servers import Server
from tests.conftest import SERVERS
from tests.faults.callers import PATIENT
from tests.redis.opening import opened

CHILD = Path(__file__).with_name("pending_child.py")
PROGRAM = next(iter(SERVERS.values()), None)
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no server is installed")


@pytest.fixture
def own_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of the test's own, that writes everything to its disk at once."""
    assert PROGRAM is not None
    with Server(PROGRAM, ["--appendonly", "yes", "--appendfsync", "always"]) as server:
        yield server


def cache(url: str, **options: Any) -> Cache[Any]:
    return Cache(url, ttl=600, namespace="faq", **options)


def files(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def until(condition: Any, seconds: float = 30.0) -> None:
    limit = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < limit
        await asyncio.sleep(0.02)


@contextmanager
def child(url: str, folder: Path, how: str) -> Iterator[subprocess.Popen[str]]:
    """A child that has built its cache and waits for the word."""
    process = subprocess.Popen(
        [sys.executable, str(CHILD), url, str(folder), how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


@asynccontextmanager
async def stored(url: str) -> AsyncIterator[Cache[Any]]:
    """A cache of another process, in which an old answer lies."""
    async with cache(url, l1_max_entries=0, **PATIENT) as other:
        await other.set("q", "old", tags=["doc"])
        assert await other.get("q") == "old"
        yield other


@pytest.mark.parametrize("how", ["delete", "tags", "all"])
async def test_killed_process_leaves_its_invalidation_to_the_next(own_server: Server, tmp_path: Path, how: str) -> None:
    """The server freezes, a process invalidates, is told that this pends, and is killed; the next one delivers it."""
    async with stored(own_server.url) as other:
        with child(own_server.url, tmp_path, how) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            own_server.pause()
            process.stdin.write("\n")
            process.stdin.flush()
            assert await asyncio.to_thread(process.stdout.readline) == "pending\n"
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert len(files(tmp_path)) == 1
        own_server.resume()
        await until(lambda: _is(other, "old"))  # nobody has delivered it
        async with cache(own_server.url, pending_path=str(tmp_path)) as heir:
            assert await heir.get("q") is None  # at once, delivered or not
            await until(lambda: _is(other, None))
            await until(lambda: _pending(heir, 0))


async def _is(of: Cache[Any], value: object) -> bool:
    return await of.get("q") == value


async def _pending(of: Cache[Any], count: int) -> bool:
    return of.stats.pending == count


async def test_kill_at_any_moment_loses_nothing_that_was_promised(own_server: Server, tmp_path: Path) -> None:
    """What the process said, `pending` or `done`, is true, whenever it is killed.

    Tried at twelve moments. The last one comes after it has spoken: a busy machine may be too slow for all others.
    """
    chance = random.Random(7)
    promised = 0
    for number in range(12):
        folder = tmp_path / str(number)
        async with stored(own_server.url) as other:
            with child(own_server.url, folder, "delete") as process:
                assert process.stdin is not None
                assert process.stdout is not None
                own_server.pause()
                timer = threading.Timer(chance.uniform(0.03, 0.12) * (1 + number / 3), process.kill)
                process.stdin.write("\n")
                process.stdin.flush()
                if number < 11:
                    timer.start()
                said = await asyncio.to_thread(process.stdout.readline)
                if number == 11:
                    timer.start()
                process.wait()
                timer.join()
            own_server.resume()
            promised += said == "pending\n"
            async with cache(own_server.url, pending_path=str(folder)) as heir:
                if said:
                    assert await heir.get("q") is None
                    await until(lambda other=other: _is(other, None))
    assert promised  # else this was no test


async def test_dead_server_comes_back_with_the_old_value_and_loses_it(own_server: Server) -> None:
    """The server is killed, the answer deleted meanwhile, and the server comes back with it from its disk."""
    async with stored(own_server.url) as other, cache(own_server.url, **PATIENT) as mine:
        assert await mine.get("q") == "old"
        own_server.kill()
        with pytest.raises(InvalidationPending):
            await mine.delete("q")
        assert await mine.get("q") is None
        own_server.start()
        assert await mine.get("q") is None
        await until(lambda: _is(other, None))
        await until(lambda: _pending(mine, 0))
        assert await mine.get("q") is None


async def test_server_that_comes_back_older_than_what_it_acknowledged_is_told_again(own_server: Server) -> None:
    """As after a failover to a replica that lagged: the store has acknowledged the deletion, and no longer knows it."""
    async with stored(own_server.url) as other, cache(own_server.url, **PATIENT) as mine:
        assert await mine.get("q") == "old"
        data = own_server.folder / "appendonlydir"
        shutil.copytree(data, own_server.folder / "replica")
        assert await mine.delete("q")
        await mine.invalidate_tags("doc")
        assert await other.get("q") is None
        own_server.kill()
        shutil.rmtree(data)
        (own_server.folder / "replica").rename(data)
        own_server.start()
        async with cache(own_server.url, l1_max_entries=0, **PATIENT) as fresh:
            await until(lambda: _is(fresh, None))
            await until(lambda: _pending(mine, 0))
            for _ in range(20):
                assert await mine.get("q") is None
                assert await fresh.get("q") is None
                await asyncio.sleep(0.01)


async def test_closing_during_an_outage_leaves_what_pends_to_the_next(own_server: Server, tmp_path: Path) -> None:
    async with stored(own_server.url) as other:
        mine = cache(own_server.url, pending_path=str(tmp_path))
        own_server.pause()
        with pytest.raises(InvalidationPending):
            await mine.invalidate_all()
        began = time.monotonic()
        await mine.aclose()
        assert time.monotonic() - began < 5
        own_server.resume()
        assert await other.get("q") == "old"
        async with cache(own_server.url, pending_path=str(tmp_path)) as heir:
            assert await heir.get("q") is None
            await until(lambda: _is(other, None))
            await until(lambda: _pending(heir, 0))


async def test_closing_soon_after_a_delivery_leaves_its_repetition_to_the_next(
    own_server: Server, tmp_path: Path
) -> None:
    """A replica that lagged brings the old value back meanwhile; the next process repeats the deletion, once."""
    async with stored(own_server.url) as other, opened(own_server.url) as store:
        key = other.key("q")
        (old,) = await store.get_many([key])
        assert old is not None
        async with cache(own_server.url, pending_path=str(tmp_path), backend_timeout=0.5) as mine:
            await mine.set("r", "old")
            own_server.pause()
            for name in "qr":
                with pytest.raises(InvalidationPending):
                    await mine.delete(name)
            own_server.resume()
            await until(lambda: _pending(mine, 0))
            await mine.set("r", "new")  # nothing is owed any more under this one
        assert len(files(tmp_path)) == 1
        await store.set_many({key: old}, ttl=60)
        assert await other.get("q") == "old"
        async with cache(own_server.url, pending_path=str(tmp_path)) as heir:
            assert heir.stats.pending == 0
            await heir.get("r")
            await until(lambda: _is(other, None))
            # A process that begins while this one lives finds nothing; nor does one that begins after it.
            await until(lambda: _empty(tmp_path))
        assert files(tmp_path) == []
        assert await other.get("r") == "new"


async def _empty(folder: Path) -> bool:
    return all(path.stat().st_size == 0 for path in files(folder))


async def test_second_cache_of_one_process_takes_nothing_from_the_first(own_server: Server, tmp_path: Path) -> None:
    async with stored(own_server.url), cache(own_server.url, pending_path=str(tmp_path)) as first:
        own_server.pause()
        with pytest.raises(InvalidationPending):
            await first.delete("q")
        async with cache(own_server.url, pending_path=str(tmp_path)) as second:
            assert first.stats.pending == 1
            assert second.stats.pending == 0
            own_server.resume()
            await until(lambda: _pending(first, 0))


def test_loop_that_delivers_ends_and_another_takes_over(own_server: Server) -> None:
    """An `asyncio.run` leaves what pends to a loop in another thread that was there before."""
    shared = cache(own_server.url, backend_timeout=0.5)
    stop, ready = threading.Event(), threading.Event()

    async def stay() -> None:
        await shared.set("q", "old")
        ready.set()
        await asyncio.to_thread(stop.wait)
        await shared.aclose()

    thread = threading.Thread(target=asyncio.run, args=(stay(),))
    thread.start()
    assert ready.wait(30)
    try:
        own_server.pause()

        async def delete() -> None:
            with pytest.raises(InvalidationPending):
                await shared.delete("q")

        asyncio.run(delete())
        own_server.resume()
        limit = time.monotonic() + 30
        while shared.stats.pending:
            assert time.monotonic() < limit
            time.sleep(0.02)
    finally:
        own_server.resume()
        stop.set()
        thread.join()
