"""A store that answers and has no feed is one line, with what that means; the feed that comes back is another."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from cachecore.contract import Alive, FeedEvent, Lost
from cachecore.invalidation.feed import FeedState
from cachecore.invalidation.feed_log import PATIENCE, FeedLog
from tests.unit.virtual_caches import Scene, virtual


class Store:
    """A store without a feed until `events` are sent, and the listener of its feed."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[FeedEvent] = asyncio.Queue()
        self.breaker = "closed"

    def __repr__(self) -> str:
        return "Store(host)"

    async def feed(self, prefix: str) -> AsyncIterator[FeedEvent]:
        while True:
            yield await self.events.get()

    def changed(self, keys: object) -> None: ...
    def changed_all(self) -> None: ...
    def alive(self) -> None: ...
    def revived(self, *, again: bool) -> None: ...


def made(scene: Scene) -> tuple[Store, FeedState]:
    store = Store()
    log = FeedLog(store, lambda: {"": store.breaker})
    return store, FeedState(max_age=3600, clock=scene.clock, log=log)


class Listening(logging.Handler):
    """Keeps the lines of the logger."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@contextmanager
def listening() -> Iterator[list[str]]:
    handler, logger = Listening(), logging.getLogger("cachecore.store")
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield handler.lines
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


@virtual
async def test_no_feed_is_one_line_and_its_return_another(scene: Scene) -> None:
    with listening() as lines:
        store, state = made(scene)
        state.attend(store, "cc:", store)
        await asyncio.sleep(PATIENCE - 0.1)
        assert lines == []
        await asyncio.sleep(10 * PATIENCE)
        (said,) = lines
        assert "Store(host) has no feed" in said
        assert "CLIENT TRACKING" in said
        store.events.put_nowait(Alive(scene.clock.monotonic()))
        await asyncio.sleep(10 * PATIENCE)
        assert lines[1:] == ["the feed of Store(host) is back"]
        store.events.put_nowait(Lost())
        await asyncio.sleep(10 * PATIENCE)
        assert len(lines) == 3
        await state.stop()


@virtual
async def test_store_that_is_away_or_whose_feed_comes_soon_is_not_told_of(scene: Scene) -> None:
    with listening() as lines:
        store, state = made(scene)
        state.attend(store, "cc:", store)
        store.breaker = "open"
        await asyncio.sleep(10 * PATIENCE)
        store.breaker = "closed"
        store.events.put_nowait(Alive(scene.clock.monotonic()))
        await asyncio.sleep(10 * PATIENCE)
        store.events.put_nowait(Lost())
        await asyncio.sleep(PATIENCE / 2)
        await state.stop()
        await asyncio.sleep(10 * PATIENCE)
        assert lines == []
