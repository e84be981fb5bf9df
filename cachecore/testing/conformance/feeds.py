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
from cachecore.testing.conformance.harness import Harness, SharedHarness, holds, registered, same

_FEED_SECONDS = 30.0


@asynccontextmanager
async def _events(backend: SupportsFeed, prefix: str) -> AsyncIterator[AsyncIterator[FeedEvent]]:
    """Iterate a feed with a deadline for each event, so that a silent one fails and does not hang."""
    feed = backend.feed(prefix)

    async def bounded() -> AsyncIterator[FeedEvent]:
        while True:
            try:
                yield await asyncio.wait_for(anext(feed), _FEED_SECONDS)
            except TimeoutError:
                raise AssertionError(f"a feed says something, if only Alive, within {_FEED_SECONDS:g} s") from None
            except StopAsyncIteration:
                raise AssertionError("a feed goes on until it is closed; it ended by itself") from None

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
        holds(isinstance(first, Alive | Lost), f"a feed begins with Lost or Alive, not {first!r}")
        beats = [first] if isinstance(first, Alive) else []
        while len(beats) < 3:
            event = await anext(events)
            if not isinstance(event, Alive):
                raise AssertionError(f"a feed without changes says Alive again and again, not {event!r}")
            beats.append(event)
        sent = [beat.sent_at for beat in beats]
        holds(sent == sorted(set(sent)) and sent[-1] <= monotonic(), f"sent_at rises, up to now at most: {sent}")


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
        holds(await other.swap("p:swapped", b"1", b"2", ttl=60), "swap writes over the value that is `old`")
        holds(await other.swap("p:gone", b"1", None, ttl=None), "swap to None deletes the value that is `old`")
        holds(await other.swap("p:made", None, b"1", ttl=60), "swap from None writes where there is nothing")
        wanted = {"p:set", "p:deleted", "p:swapped", "p:gone", "p:made"}
        same(
            _told(await _until_alive(events)),
            wanted,
            "each change below the prefix, and no other, is told",
        )
        same(_told(await _until_alive(events)), set(), "a change is told once")


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
        whole = any(isinstance(event, Lost | Flushed) for event in seen)
        holds(whole or _told(seen) == set(keys), f"of 1,000 changes at once {len(_told(seen))} are told, without Lost")


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
            same(_told(await _until_alive(more)), {"q:1"}, "a feed tells the keys of its own prefix")
            same(_told(await _until_alive(events)), {"p:1"}, "a feed tells the keys of its own prefix")
        await other.set_many({"p:2": b"v"}, ttl=60)
        same(_told(await _until_alive(events)), {"p:2"}, "a feed goes on when another one was left")


@registered
async def check_feed_tells_the_longest_keys(harness: Harness) -> None:
    """Keys of 250 bytes are told in whole, however many a message of the store holds."""
    if not (isinstance(harness.backend, SupportsFeed) and isinstance(harness, SharedHarness)):
        return
    other = await harness.another()
    keys = {f"p:{number:0248}" for number in range(100)}
    async with _events(harness.backend, "p:") as events:
        await _until_alive(events)
        await other.set_many(dict.fromkeys(keys, b"v"), ttl=60)
        seen = await _until_alive(events)
        whole = any(isinstance(event, Lost | Flushed) for event in seen)
        holds(whole or _told(seen) == keys, f"of 100 keys of 250 bytes {len(_told(seen) & keys)} are told")


@registered
async def check_feed_is_silent_about_what_did_not_change(harness: Harness) -> None:
    """A swap that failed changed nothing, and copies in memory need not be thrown away for it."""
    if not (isinstance(harness.backend, SupportsFeed) and isinstance(harness, SharedHarness)):
        return
    other = await harness.another()
    await other.set_many({"p:k": b"1"}, ttl=60)
    async with _events(harness.backend, "p:") as events:
        await _until_alive(events)
        holds(not await other.swap("p:k", b"2", b"3", ttl=60), "swap does not write over another value than `old`")
        holds(not await other.swap("p:k", None, b"3", ttl=60), "swap from None does not write over a value")
        same(_told(await _until_alive(events)), set(), "a swap that failed is not told")
