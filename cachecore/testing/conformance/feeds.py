"""The feed of changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from cachecore.contract import (
    Alive,
    Changed,
    FeedEvent,
    Flushed,
    Lost,
    SupportsFeed,
    monotonic,
)
from cachecore.testing.conformance.harness import Harness, SharedHarness, registered

_FEED_SECONDS = 10.0


@asynccontextmanager
async def _events(backend: SupportsFeed, prefix: str) -> AsyncIterator[AsyncIterator[FeedEvent]]:
    """Iterate a feed with a deadline for each event, so that a silent one fails and does not hang."""
    feed = backend.feed(prefix)

    async def bounded() -> AsyncIterator[FeedEvent]:
        while True:
            yield await asyncio.wait_for(anext(feed), _FEED_SECONDS)

    try:
        yield bounded()
    finally:
        if isinstance(feed, AsyncGenerator):
            await feed.aclose()


async def _until_alive(events: AsyncIterator[FeedEvent]) -> list[FeedEvent]:
    """Return the events up to an `Alive` that was sent after now."""
    asked = monotonic()
    seen = []
    async for event in events:
        seen.append(event)
        if isinstance(event, Alive) and event.sent_at >= asked:
            break
    return seen


def _told(events: list[FeedEvent]) -> set[str]:
    return {key for event in events if isinstance(event, Changed) for key in event.keys}


@registered
async def check_feed_starts_and_stays_alive(harness: Harness) -> None:
    """A feed begins with `Lost` or `Alive`, and then says that it is alive again and again."""
    if not isinstance(harness.backend, SupportsFeed):
        return
    async with _events(harness.backend, "p:") as events:
        first = await anext(events)
        assert isinstance(first, Alive | Lost)
        beats = [first] if isinstance(first, Alive) else []
        while len(beats) < 3:
            event = await anext(events)
            assert isinstance(event, Alive)
            beats.append(event)
        assert beats[0].sent_at < beats[1].sent_at < beats[2].sent_at <= monotonic()


@registered
async def check_feed_tells_every_kind_of_change(harness: Harness) -> None:
    """Another backend's sets, deletions and swaps are told before the next `Alive`, keys below the prefix only."""
    if not (isinstance(harness.backend, SupportsFeed) and isinstance(harness, SharedHarness)):
        return
    other = await harness.another()
    await other.set_many({"p:deleted": b"1", "p:swapped": b"1", "p:gone": b"1"}, ttl=60)
    async with _events(harness.backend, "p:") as events:
        await _until_alive(events)
        await other.set_many({"p:set": b"1", "q:set": b"1"}, ttl=60)
        await other.delete_many(["p:deleted", "q:deleted"])
        assert await other.swap("p:swapped", b"1", b"2", ttl=60)
        assert await other.swap("p:gone", b"1", None, ttl=None)
        assert await other.swap("p:made", None, b"1", ttl=60)
        assert _told(await _until_alive(events)) == {"p:set", "p:deleted", "p:swapped", "p:gone", "p:made"}
        assert _told(await _until_alive(events)) == set()


@registered
async def check_feed_tells_each_of_many_changes(harness: Harness) -> None:
    """A thousand changes at once are all told, or the feed says that it cannot tell."""
    if not (isinstance(harness.backend, SupportsFeed) and isinstance(harness, SharedHarness)):
        return
    other = await harness.another()
    async with _events(harness.backend, "p:") as events:
        await _until_alive(events)
        keys = [f"p:{number}" for number in range(1000)]
        await other.set_many(dict.fromkeys(keys[:500], b"v"), ttl=60)
        await asyncio.gather(*(other.set_many({key: b"v"}, ttl=60) for key in keys[500:]))
        seen = await _until_alive(events)
        assert _told(seen) == set(keys) or any(isinstance(event, Lost | Flushed) for event in seen)


@registered
async def check_feeds_of_two_prefixes_do_not_mix(harness: Harness) -> None:
    """Two feeds of one backend tell each its own keys; one that was left does not hold up the other."""
    if not (isinstance(harness.backend, SupportsFeed) and isinstance(harness, SharedHarness)):
        return
    other = await harness.another()
    async with _events(harness.backend, "p:") as events:
        async with _events(harness.backend, "q:") as more:
            await asyncio.gather(_until_alive(events), _until_alive(more))
            await other.set_many({"p:1": b"v", "q:1": b"v"}, ttl=60)
            assert _told(await _until_alive(more)) == {"q:1"}
            assert _told(await _until_alive(events)) == {"p:1"}
        await other.set_many({"p:2": b"v"}, ttl=60)
        assert _told(await _until_alive(events)) == {"p:2"}
