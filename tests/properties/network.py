"""Several processes on one store, without processes: links that delay, fail and push, in virtual time.

Each link stands for one process's connections. Every call waits a random moment before it reaches the store and another
before its answer is back, so calls of two links happen in any order, and those of one link overtake each other.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from cachecore.contract.errors import BackendUnavailable
from cachecore.contract.protocols import Alive, Changed, FeedEvent
from cachecore.store.memory_backend import MemoryBackend
from cachecore.testing.virtual import VirtualClock

T = TypeVar("T")

LAG = 0.02
"""The longest a call or a push is on its way, in seconds."""
HEARTBEAT = 0.25


class Link:
    """CacheBackend of one process, on the store of all."""

    def __init__(
        self, store: MemoryBackend, clock: VirtualClock, chance: random.Random, *, failing: float = 0.0
    ) -> None:
        self.store = store
        self.failing = failing
        """The part of calls that fail, some before the store has done them and some after."""
        self._clock = clock
        self._chance = chance

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        return await self._call("get_many", lambda: self.store.get_many(keys))

    async def set_many(self, items: Mapping[str, bytes], *, ttl: float | None) -> None:
        return await self._call("set_many", lambda: self.store.set_many(items, ttl=ttl), items)

    async def delete_many(self, keys: Sequence[str]) -> int:
        return await self._call("delete_many", lambda: self.store.delete_many(keys), keys)

    async def swap(self, key: str, old: bytes | None, new: bytes | None, *, ttl: float | None) -> bool:
        return await self._call("swap", lambda: self.store.swap(key, old, new, ttl=ttl), [key])

    async def sizes(self, keys: Sequence[str]) -> list[int]:
        return await self._call("sizes", lambda: self.store.sizes(keys))

    async def time(self) -> float:
        return await self._call("time", self.store.time)

    async def scan(self, prefix: str) -> AsyncIterator[Sequence[str]]:
        async for page in self.store.scan(prefix):
            await self._delay()
            yield page

    async def aclose(self) -> None:
        pass

    async def _call(self, operation: str, call: Callable[[], Awaitable[T]], changes: object = ()) -> T:
        await self._delay()
        fate = self._chance.random()
        if fate < self.failing / 2:
            raise BackendUnavailable(operation)
        answer = await call()
        self.wrote(changes)
        await self._delay()
        if fate < self.failing:
            raise BackendUnavailable(operation)
        return answer

    def wrote(self, changes: object) -> None:
        """Say that these keys were written."""

    async def _delay(self) -> None:
        await asyncio.sleep(self._chance.random() * LAG / 2)


class FeedingLink(Link):
    """A link that is told what the others change, in order and at most `LAG` later, but not what it changes itself."""

    def __init__(
        self,
        store: MemoryBackend,
        clock: VirtualClock,
        chance: random.Random,
        others: list[FeedingLink],
        **faults: float,
    ) -> None:
        super().__init__(store, clock, chance, **faults)
        self._others = others
        self._events: asyncio.Queue[tuple[float, FeedEvent]] = asyncio.Queue()
        others.append(self)

    def wrote(self, changes: object) -> None:
        keys = tuple(changes) if isinstance(changes, list | dict) else ()
        for other in self._others:
            if other is not self and keys:
                other.push(Changed(keys))

    def push(self, event: FeedEvent) -> None:
        """Deliver `event` soon."""
        self._events.put_nowait((self._clock.monotonic() + self._chance.random() * LAG, event))

    async def feed(self, prefix: str) -> AsyncIterator[FeedEvent]:
        self._events = asyncio.Queue()
        self.push(Alive(self._clock.monotonic()))
        while True:
            try:
                async with asyncio.timeout(HEARTBEAT):
                    due, event = await self._events.get()
            except TimeoutError:
                self.push(Alive(self._clock.monotonic()))
                continue
            await asyncio.sleep(max(0.0, due - self._clock.monotonic()))
            if isinstance(event, Changed):
                event = Changed(tuple(key for key in event.keys if key.startswith(prefix)))
            yield event
