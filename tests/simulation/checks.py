"""What each takes one short history to tell; some of the bugs of others are found by these, not by chance."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from cachecore import Cache, OptionsError
from cachecore.contract.protocols import Alive, Changed, FeedEvent, Lost
from cachecore.keys import KeySpace
from cachecore.keys.hashers import sha256
from cachecore.store.memory_backend import MemoryBackend
from cachecore.testing.simulation.network import FedBackend, Link
from cachecore.testing.simulation.store import SimulatedStore
from cachecore.testing.virtual import VirtualClock


def answer(value: Any) -> Callable[[], Awaitable[Any]]:
    async def work() -> Any:
        return value

    return work


class SilentBackend(MemoryBackend):
    """A store whose feed says once that it lives, and then nothing any more, although nothing says that it is dead."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock=clock)
        self._silent_clock = clock

    async def feed(self, prefix: str) -> AsyncIterator[FeedEvent]:
        yield Alive(self._silent_clock.monotonic())
        await asyncio.get_running_loop().create_future()


def dead_link_is_not_believed() -> None:
    """A copy in memory is served for `l1_max_age` after the feed fell silent, and no longer."""
    clock = VirtualClock()

    async def run() -> None:
        store = SilentBackend(clock)
        here: Cache[Any] = Cache(store, ttl=600, clock=clock)
        there: Cache[Any] = Cache(store, ttl=600, clock=clock)
        async with here, there:
            await here.get("q")
            await asyncio.sleep(0)
            await here.get_or_set("q", answer("old"))
            assert await here.get_or_set("q", answer("unused")) == "old"
            await there.set("q", "new")
            await asyncio.sleep(1.5)
            assert await here.get("q") == "new"

    clock.run(run())


class LateBackend(MemoryBackend):
    """A store whose news of changes overtake its answers to reads."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(clock=clock)
        self._late_clock = clock
        self.feeds: list[asyncio.Queue[FeedEvent]] = []
        self.late = 0.0

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        values = await super().get_many(keys)
        await asyncio.sleep(self.late)
        return values

    async def feed(self, prefix: str) -> AsyncIterator[FeedEvent]:
        news: asyncio.Queue[FeedEvent] = asyncio.Queue()
        self.feeds.append(news)
        yield Alive(self._late_clock.monotonic())
        while True:
            yield await news.get()


def late_answer_is_not_kept() -> None:
    """What a read brings home after the feed has told of a change is not put into memory."""
    clock = VirtualClock()

    async def run() -> None:
        store = LateBackend(clock)
        here: Cache[Any] = Cache(store, ttl=600, clock=clock, backend_timeout=1, l1_max_age=60)
        there: Cache[Any] = Cache(store, ttl=600, clock=clock, backend_timeout=1)
        async with here, there:
            await there.set("q", "old")
            await here.get("another")
            await asyncio.sleep(0.01)
            store.late = 0.1
            reading = asyncio.ensure_future(here.get("q"))
            await asyncio.sleep(0.05)
            store.late = 0.0
            await there.set("q", "new")
            for news in store.feeds:
                news.put_nowait(Changed((here.key("q"),)))
            assert await reading == "old"  # asked before the change
            assert here.peek("q") is None
            assert await here.get("q") == "new"

    clock.run(run())


def lost_news_are_made_up_for() -> None:
    """A copy in memory is read again after a gap in the feed, in which nobody told of a change."""
    clock = VirtualClock()

    async def run() -> None:
        store = LateBackend(clock)
        here: Cache[Any] = Cache(store, ttl=600, clock=clock, l1_max_age=60)
        there: Cache[Any] = Cache(store, ttl=600, clock=clock)
        async with here, there:
            await here.get("another")
            await asyncio.sleep(0.01)
            await here.get_or_set("q", answer("old"))
            (news,) = store.feeds
            news.put_nowait(Lost())
            await asyncio.sleep(0.01)
            await there.set("q", "new")
            news.put_nowait(Alive(clock.monotonic()))
            await asyncio.sleep(0.01)
            assert await here.get("q") == "new"

    clock.run(run())


def changed_bytes_are_not_served() -> None:
    """A value with another letter in it is no value, though its bytes can be decoded."""
    clock = VirtualClock()

    async def run() -> None:
        store = MemoryBackend(clock=clock)
        here: Cache[Any] = Cache(store, ttl=600, clock=clock, l1_max_entries=0)
        async with here:
            await here.set("q", "right")
            key = here.key("q")
            (data,) = await store.get_many([key])
            assert data is not None
            assert data.count(b"right") == 1
            await store.set_many({key: data.replace(b"right", b"wrong")}, ttl=600)
            assert await here.get("q") is None
            await store.set_many({key: data}, ttl=600)
            assert await here.get("q") == "right"

    clock.run(run())


def failure_is_shared() -> None:
    """Twenty callers and one failing factory of 50 ms are one call, and 50 ms."""
    clock = VirtualClock()
    calls = 0

    async def fail() -> Any:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0.05)
        return 1 / 0

    async def run() -> None:
        cache: Cache[Any] = Cache(MemoryBackend(clock=clock), ttl=60, clock=clock)
        async with cache:
            began = clock.monotonic()
            outcomes = await asyncio.gather(*(cache.get_or_set("q", fail) for _ in range(20)), return_exceptions=True)
            assert [type(outcome) for outcome in outcomes] == [ZeroDivisionError] * 20
            assert calls == 1
            assert clock.monotonic() - began < 0.1

    clock.run(run())


def stamps_outlive_entries() -> None:
    """An entry that lives for a month is not lost because the stamp of its tag was."""
    clock = VirtualClock()

    async def run() -> None:
        store = MemoryBackend(clock=clock)
        cache: Cache[Any] = Cache(store, ttl=30 * 86_400, jitter=0, clock=clock, l1_max_entries=0)
        async with cache:
            await cache.get_or_set("q", answer("kept"), tags=["doc"])
            clock.loop.stall(29 * 86_400)
            assert await cache.get("q", tags=["doc"]) == "kept"

    clock.run(run())


def keys_differ_as_requests_do() -> None:
    """Requests that mean something else have another key; those that mean the same have the same."""
    key = KeySpace("p", "", sha256()).key
    asked = {"prompt": "Hi", "suffix": "Bye", "n": 1}
    assert key(asked) == key(dict(reversed(asked.items())))
    others = [
        {"prompt": "Hi", "suffix": "Bye", "n": "1"},
        {"prompt": "Hi", "suffix": "Bye", "n": 1, "seed": None},
        {"prompt": "Hi", "suffix": "Bye", "n": 1, "extra_body": {"top_k": 1}},
        {"prompt": "Hi", "suffix": "Bye", "n": None},
        {"prompt": "Hi", "suffix": "Bye", "n": ""},
        {"prompt": "Hisuffix: Bye", "n": 1},
        {"prompt": "hi", "suffix": "Bye", "n": 1},
    ]
    keys = {key(request) for request in (asked, *others)}
    assert len(keys) == 1 + len(others)


class ShortHasher:
    """64 bits of a good hash."""

    name = "short"

    def hexdigest(self, data: bytes) -> str:
        return hashlib.sha256(data).hexdigest()[:16]


def short_digests_are_refused() -> None:
    """A hasher of fewer than 128 bits is an error while building."""
    try:
        KeySpace("p", "", ShortHasher())
    except OptionsError:
        return
    raise AssertionError("a digest of 64 bits was accepted")


def restored_snapshot_brings_nothing_back() -> None:
    """Two processes, one of which invalidates; the server dies and comes back from a snapshot of 20 s before.

    Longer ago than anybody remembers what it invalidated: only the mark tells. New answers are kept again right after.
    """
    clock = VirtualClock()
    chance = random.Random(7)

    async def run() -> None:
        store = SimulatedStore(clock.loop, lambda *what: None)
        links = [Link(random.Random(number)) for number in range(2)]
        stores = [FedBackend(store, link, f"p{number}", clock) for number, link in enumerate(links)]
        caches: list[Cache[Any]] = [
            Cache(backend, ttl=600, clock=clock, chance=chance, backend_timeout=1) for backend in stores
        ]
        here, there = caches
        await here.set("tagged", "old", tags=["t"])
        await here.set("deleted", "old")
        await here.set("replaced", "old")
        await asyncio.sleep(12)
        await here.invalidate_tags("t")
        await here.delete("deleted")
        await here.set("replaced", "new")
        await asyncio.sleep(8)
        store.stop()
        store.roll_back(10)
        store.start(empty=False, skew=0.0)
        for _ in range(100):
            for cache in caches:
                for name in ("tagged", "deleted", "replaced"):
                    assert await cache.get(name) != "old", f"{name} is back"
            await asyncio.sleep(0.05)
        assert await there.get_or_set("deleted", answer("newest")) == "newest"
        assert await here.get("deleted") == "newest"
        for cache in caches:
            await cache.aclose()
        for backend in stores:
            await backend.aclose()
        await asyncio.sleep(3)

    clock.run(run())
