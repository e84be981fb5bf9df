"""Backends that break the contract, each in one way, as authors of backends have done."""

from __future__ import annotations

import asyncio
import fnmatch
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, cast

from cachecore.contract import BackendError, FeedEvent
from cachecore.store.memory_backend import MemoryBackend
from cachecore.testing.clocks import FakeClock
from cachecore_sqlite import SQLiteBackend


class Unordered(MemoryBackend):
    """Answers a batch in the order of its keys' names."""

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        return await super().get_many(sorted(keys))


class NotBytes(MemoryBackend):
    """Answers with what its driver has."""

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        return [value and cast("bytes", bytearray(value)) for value in await super().get_many(keys)]


class WholeSeconds(MemoryBackend):
    """Cuts fractions of a second, and takes what is left for none."""

    async def set_many(self, items: Mapping[str, bytes], *, ttl: float | None) -> None:
        await super().set_many(items, ttl=int(ttl) or None if ttl is not None else None)


class FirstDeadlineStays(MemoryBackend):
    """Sets a deadline only where there is none."""

    async def set_many(self, items: Mapping[str, bytes], *, ttl: float | None) -> None:
        for key, value in items.items():
            found = self._values.get(key)
            left = found[1] - self._clock.monotonic() if found is not None and found[1] is not None else ttl
            await super().set_many({key: value}, ttl=left)


class ReadingProlongs(MemoryBackend):
    """Counts a ttl from the last read."""

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        values = await super().get_many(keys)
        for key, value in zip(keys, values, strict=True):
            if value is not None and self._values[key][1] is not None:
                self._put(key, value, 0.3)
        return values


class CountsWhatWasAsked(MemoryBackend):
    """Says of a deletion how many keys it was asked for."""

    async def delete_many(self, keys: Sequence[str]) -> int:
        await super().delete_many(keys)
        return len(keys)


class AnyCase(MemoryBackend):
    """A file system that takes two cases for one."""

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        return await super().get_many([key.lower() for key in keys])

    async def set_many(self, items: Mapping[str, bytes], *, ttl: float | None) -> None:
        await super().set_many({key.lower(): value for key, value in items.items()}, ttl=ttl)


class SwapsInTwoSteps(MemoryBackend):
    """Reads, compares and writes, with others in between."""

    async def swap(self, key: str, old: bytes | None, new: bytes | None, *, ttl: float | None) -> bool:
        (found,) = await self.get_many([key])
        await asyncio.sleep(0)
        if found != old:
            return False
        if new is None:
            await self.delete_many([key])
        else:
            await self.set_many({key: new}, ttl=ttl)
        return True


class LocksSwapsAlone(MemoryBackend):
    """Keeps swaps from each other, but not other writes from swaps."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._swapping = asyncio.Lock()

    async def swap(self, key: str, old: bytes | None, new: bytes | None, *, ttl: float | None) -> bool:
        async with self._swapping:
            return await SwapsInTwoSteps.swap(cast("SwapsInTwoSteps", self), key, old, new, ttl=ttl)


class EmptyIsAbsent(MemoryBackend):
    """Takes an empty value for none."""

    async def swap(self, key: str, old: bytes | None, new: bytes | None, *, ttl: float | None) -> bool:
        if old is None and await super().get_many([key]) == [b""]:
            old = b""
        return await super().swap(key, old, new, ttl=ttl)


class SwapKeepsTheDeadline(MemoryBackend):
    """Changes the value and leaves the deadline."""

    async def swap(self, key: str, old: bytes | None, new: bytes | None, *, ttl: float | None) -> bool:
        found = self._values.get(key)
        if found is not None and found[1] is not None:
            ttl = max(0.001, found[1] - self._clock.monotonic())
        return await super().swap(key, old, new, ttl=ttl)


class LeavesTombstones(MemoryBackend):
    """Lists what a swap has deleted."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._tombs: set[str] = set()

    async def swap(self, key: str, old: bytes | None, new: bytes | None, *, ttl: float | None) -> bool:
        swapped = await super().swap(key, old, new, ttl=ttl)
        if swapped and new is None and old is not None:
            self._tombs.add(key)
        return swapped

    async def scan(self, prefix: str) -> AsyncIterator[Sequence[str]]:
        async for page in super().scan(prefix):
            yield [*page, *self._tombs]


class RepeatsItself(MemoryBackend):
    """Lists each key twice, which breaks no promise."""

    async def scan(self, prefix: str) -> AsyncIterator[Sequence[str]]:
        async for page in super().scan(prefix):
            yield [*page, *page]


class ScansByGlob(MemoryBackend):
    """Hands the prefix to the store as a pattern."""

    async def scan(self, prefix: str) -> AsyncIterator[Sequence[str]]:
        async for page in super().scan(""):
            yield [key for key in page if fnmatch.fnmatchcase(key, prefix + "*")]


class ExtendShortens(MemoryBackend):
    """Moves an end to where it was asked for, back as well."""

    async def extend(self, items: Mapping[str, bytes], *, ttl: float | None) -> list[bool]:
        there = await super().extend(items, ttl=ttl)
        for (key, value), same in zip(items.items(), there, strict=True):
            if same:
                self._put(key, value, ttl)
        return there


class AnswersWhenClosed(MemoryBackend):
    """Goes on after its end."""

    async def aclose(self) -> None:
        self._values.clear()


class RoundsLongBatches(MemoryBackend):
    """Loses what does not fit into one statement."""

    async def set_many(self, items: Mapping[str, bytes], *, ttl: float | None) -> None:
        size, kept = 0, {}
        for key, value in items.items():
            size += len(value)
            if size <= 16 * 1024 * 1024 or math.isinf(size):
                kept[key] = value
        await super().set_many(kept, ttl=ttl)


class EndsOfItsOwn(MemoryBackend):
    """Takes no end for that of the store's settings."""

    async def set_many(self, items: Mapping[str, bytes], *, ttl: float | None) -> None:
        await super().set_many(items, ttl=3600.0 if ttl is None else ttl)


class LongestEnd(MemoryBackend):
    """Cuts a ttl to the longest that its store takes."""

    async def set_many(self, items: Mapping[str, bytes], *, ttl: float | None) -> None:
        await super().set_many(items, ttl=ttl and min(ttl, 30 * 86_400.0))


class MillisecondClock(MemoryBackend):
    """Tells the time as its driver does."""

    async def time(self) -> float:
        return self._clock.time() * 1000


class ClosesOnce(MemoryBackend):
    """Takes a second end for a mistake."""

    async def aclose(self) -> None:
        if self._closed:
            raise RuntimeError("closed before")
        await super().aclose()


class DriversErrorWhenClosed(MemoryBackend):
    """Lets its driver say that it is closed."""

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        if self._closed:
            raise ValueError("I/O operation on closed file")
        return await super().get_many(keys)


class RefusesSomeKeys(MemoryBackend):
    """Names files by keys."""

    async def set_many(self, items: Mapping[str, bytes], *, ttl: float | None) -> None:
        if any(key.startswith(".") for key in items):
            raise BackendError("set_many", transient=True, reason="os_error")
        await super().set_many(items, ttl=ttl)


class KeepsItsLock(MemoryBackend):
    """Leaves a lock behind where its caller is cancelled."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._held = asyncio.Lock()

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        await self._held.acquire()
        await asyncio.sleep(0)
        self._held.release()
        return await super().get_many(keys)


class RemembersReads(SQLiteBackend):
    """Answers what it has read before from memory."""

    def __init__(self, path: str, *, clock: FakeClock) -> None:
        super().__init__(path, clock=clock)
        self._read = dict[str, bytes]()

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        found = await super().get_many([key for key in keys if key not in self._read])
        missing = dict(zip([key for key in keys if key not in self._read], found, strict=True))
        self._read.update({key: value for key, value in missing.items() if value is not None})
        return [self._read.get(key, missing.get(key)) for key in keys]


class ForgetsSwaps(SQLiteBackend):
    """Tells of sets and deletions, not of swaps."""

    def __init__(self, path: str, *, clock: FakeClock) -> None:
        super().__init__(path, clock=clock)
        self._swapped: set[str] = set()

    async def feed(self, prefix: str) -> AsyncIterator[FeedEvent]:
        async for event in super().feed(prefix):
            keys = getattr(event, "keys", ())
            if not set(keys) & {"p:swapped", "p:made", "p:gone"}:
                yield event
