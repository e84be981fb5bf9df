"""The feed between processes: the changes it sends, and `Lost` where it cannot."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from cachecore.contract import Alive, Changed, FeedEvent, Lost
from cachecore_sqlite import SQLiteBackend, SQLiteOptions
from tests.sqlite.children import running, write_when_told

QUICK = SQLiteOptions(heartbeat=0.05, timeout=20)


class Heard:
    """The events of a feed as they come."""

    def __init__(self) -> None:
        self.events: list[FeedEvent] = []

    def told(self) -> list[str]:
        return [key for event in self.events if isinstance(event, Changed) for key in event.keys]

    def alive(self) -> bool:
        return any(isinstance(event, Alive) for event in self.events)

    def lost(self) -> bool:
        return Lost() in self.events

    async def until(self, condition: Callable[[], bool]) -> None:
        limit = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < limit, self.events[-10:]
            await asyncio.sleep(0.001)


@asynccontextmanager
async def _heard(backend: SQLiteBackend, prefix: str = "p:") -> AsyncIterator[Heard]:
    heard = Heard()

    async def listen() -> None:
        async for event in backend.feed(prefix):
            heard.events.append(event)

    task = asyncio.ensure_future(listen())
    await heard.until(heard.alive)
    yield heard
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_another_process_is_heard(tmp_path: Path) -> None:
    """Each of a hundred writes of another process is sent."""
    path = str(tmp_path / "cache.db")
    backend = SQLiteBackend(path, options=QUICK)
    with running(write_when_told, path) as (_, pipe):
        async with _heard(backend) as heard:
            for number in range(100):
                pipe.send(f"p:{number}")
                await heard.until(lambda: f"p:{number}" in heard.told())  # noqa: B023 - awaited before the next
            assert heard.told() == [f"p:{number}" for number in range(100)]
            assert not heard.lost()
    await backend.aclose()


async def test_gap_in_the_log_is_said(tmp_path: Path) -> None:
    """Promise: a feed delayed (here by `at_work`) for longer than the change log reaches sends `Lost`."""
    path = tmp_path / "cache.db"
    backend = SQLiteBackend(path, options=SQLiteOptions(feed_interval=0.5, heartbeat=0.5, timeout=20))
    other = SQLiteBackend(path, options=SQLiteOptions(durability="process", timeout=20))
    async with _heard(backend) as heard:
        feed = backend._pool._feed
        with feed.at_work:  # as a stopped process would be
            for number in range(100):
                await other.set_many({f"p:{number}:{i:0200d}": b"v" for i in range(100)}, ttl=60)
        heard.events.clear()
        await heard.until(heard.lost)
        heard.events.clear()
        await heard.until(heard.alive)
        await other.set_many({"p:after": b"v"}, ttl=60)
        await heard.until(lambda: heard.told() == ["p:after"])
    await backend.aclose()
    await other.aclose()


async def test_replaced_file_is_said(tmp_path: Path) -> None:
    """After the file was deleted the feed sends `Lost`, and then follows the new file."""
    path = tmp_path / "cache.db"
    backend, other = SQLiteBackend(path, options=QUICK), SQLiteBackend(path, options=QUICK)
    async with _heard(backend) as heard:
        path.unlink()
        await heard.until(heard.lost)
        heard.events.clear()
        await heard.until(heard.alive)
        await other.set_many({"p:new": b"v"}, ttl=60)
        await heard.until(lambda: heard.told() == ["p:new"])
    await backend.aclose()
    await other.aclose()


async def test_unusable_file_is_lost_until_it_is_back(tmp_path: Path) -> None:
    """The feed does not raise while the store is unavailable, and continues afterwards."""
    path = tmp_path / "cache.db"
    backend = SQLiteBackend(path, options=QUICK)
    async with _heard(backend) as heard:
        aside = tmp_path / "aside"
        path.rename(aside)
        path.write_bytes(b"not a database " * 100)
        await heard.until(heard.lost)
        heard.events.clear()
        path.unlink()
        await heard.until(heard.alive)
        await backend.set_many({"p:new": b"v"}, ttl=60)
        await heard.until(lambda: heard.told() == ["p:new"])
    await backend.aclose()


async def test_feed_ends_when_the_backend_is_closed(tmp_path: Path) -> None:
    """Closing ends each feed, with `Lost` as its last event."""
    for path in (str(tmp_path / "cache.db"), ":memory:"):
        backend = SQLiteBackend(path, options=QUICK)
        events: list[FeedEvent] = []

        async def listen(backend: SQLiteBackend = backend, events: list[FeedEvent] = events) -> None:
            async for event in backend.feed("p:"):
                events.append(event)  # noqa: PERF401 - looked at while it goes on

        task = asyncio.ensure_future(listen())
        while not events:  # noqa: ASYNC110 - filled by the loop above
            await asyncio.sleep(0.001)
        await backend.aclose()
        await asyncio.wait_for(task, 60)
        assert events[-1] == Lost()


async def test_feed_without_listeners_does_not_poll(tmp_path: Path) -> None:
    """Promise of an idle `Feed`: it forgets its position and opens no connection until the next listener."""
    backend = SQLiteBackend(tmp_path / "cache.db", options=QUICK)
    async with _heard(backend):
        pass
    feed = backend._pool._feed
    limit = time.monotonic() + 60
    while feed._position is not None:
        assert time.monotonic() < limit
        await asyncio.sleep(0.005)
    assert not feed._listeners
    async with _heard(backend) as heard:
        await backend.set_many({"p:again": b"v"}, ttl=60)
        await heard.until(lambda: heard.told() == ["p:again"])
    await backend.aclose()
