"""A backend that fails as told, around one that works: every way in which a store or its driver can misbehave.

    store = FaultyBackend(MemoryBackend())
    store.fail("get_many", times=3)                  # the next three reads raise BackendUnavailable
    store.hang("swap", swallow=1)                    # never answers, and ignores the first cancellation
    store.corrupt(prefix="cc:e:", probability=0.1)   # one read entry in ten has a flipped bit
    store.heal()

With no fault set it keeps the contract of a backend. Nothing here waits by itself: delays go through the `sleep` that
it is given, chance through a `random.Random`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from cachecore.contract.errors import BackendUnavailable
from cachecore.contract.protocols import (
    CacheBackend,
    FeedEvent,
    SupportsExtend,
    SupportsFeed,
    SupportsMarks,
    SupportsPartitions,
    SupportsScan,
    SupportsSizes,
    SupportsTime,
    SupportsTouch,
)
from cachecore.store.memory_backend import MemoryBackend

Alter = Callable[[str, bytes], bytes | None]
"""Changes a value that was read: (key, value) -> value, or None for a missing one."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One call that the backend got, before any fault was applied."""

    operation: str
    keys: tuple[str, ...]


@dataclass(slots=True, eq=False)
class Fault:
    """One way to misbehave, and when. `times` counts down; `applied` counts up."""

    operation: str | None
    prefix: str
    times: int | None
    probability: float
    before: Callable[[Recorded], Awaitable[None]] | None = None
    after: Callable[[Recorded], Awaitable[None]] | None = None
    alter: Alter | None = None
    loses: bool = False
    applied: int = 0

    def concerns(self, call: Recorded) -> bool:
        """Whether `call` is one of those this fault is for, chance aside."""
        if self.times == 0 or self.operation not in (None, call.operation):
            return False
        return not self.prefix or any(key.startswith(self.prefix) for key in call.keys)


class FaultyBackend:
    """CacheBackend that misbehaves on demand, with the abilities of `inner`.

    Each method that adds a fault takes the `operation` it is for (None: all), the `prefix` that a key of the call must
    have, how many `times` it happens (None: until `heal`) and with which `probability`. Faults are applied in the order
    in which they were added. `calls` lists the calls.
    """

    # Set in __init__ where `inner` has them, so that isinstance gives the same result for both.
    scan: Callable[[str], AsyncIterator[Sequence[str]]]
    sizes: Callable[[Sequence[str]], Awaitable[list[int]]]
    time: Callable[[], Awaitable[float]]
    touch: Callable[[Sequence[str]], Awaitable[None]]
    extend: Callable[..., Awaitable[list[bool]]]
    feed: Callable[[str], AsyncIterator[FeedEvent]]
    advance: Callable[[str], Awaitable[int]]
    partition: Callable[[str], str]

    def __init__(
        self,
        inner: CacheBackend | None = None,
        *,
        fail: str | None = None,
        chance: random.Random | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.inner = inner = inner or MemoryBackend()
        self.calls: list[Recorded] = []
        self.swallowed = 0
        """How many cancellations hanging calls have ignored."""
        self._chance = chance or random.Random(0)  # noqa: S311 - faults, not secrets
        self._sleep = sleep
        self._faults: list[Fault] = []
        self._hanging: set[asyncio.Future[None]] = set()
        self._seen: dict[str, bytes] = {}  # the last two values read, to hand out under wrong keys
        if isinstance(inner, SupportsScan):
            self.scan = partial(self._scan, inner)
        if isinstance(inner, SupportsSizes):
            self.sizes = partial(self._sizes, inner)
        if isinstance(inner, SupportsTime):
            self.time = partial(self._time, inner)
        if isinstance(inner, SupportsTouch):
            self.touch = partial(self._touch, inner)
        if isinstance(inner, SupportsExtend):
            self.extend = partial(self._extend, inner)
        if isinstance(inner, SupportsFeed):
            self.feed = inner.feed
        if isinstance(inner, SupportsMarks):
            self.advance = partial(self._advance, inner)
        if isinstance(inner, SupportsPartitions):
            self.partition = inner.partition
        if fail is not None:
            self.fail(fail)

    def count(self, operation: str, prefix: str = "") -> int:
        """Return how many calls of `operation` there were that named a key with `prefix`."""
        wanted = Fault(operation, prefix, None, 1.0)
        return sum(map(wanted.concerns, self.calls))

    @property
    def hanging(self) -> int:
        """Return how many calls hang now."""
        return len(self._hanging)

    def heal(self) -> None:
        """Take all faults away and let hanging calls go on to a late answer. Callable from any thread."""
        self._faults.clear()
        for waiting in list(self._hanging):
            loop = waiting.get_loop()
            if not loop.is_closed():
                loop.call_soon_threadsafe(_finish, waiting)

    # Faults

    def fail(
        self,
        operation: str | None = None,
        error: Callable[[str], Exception] = BackendUnavailable,
        *,
        prefix: str = "",
        times: int | None = None,
        probability: float = 1.0,
        done: bool = False,
    ) -> Fault:
        """Raise `error(operation)`; with `done` only after the store carried out the call, as when a reply is lost."""

        async def strike(call: Recorded) -> None:
            raise error(call.operation)

        before, after = (None, strike) if done else (strike, None)
        return self._add(Fault(operation, prefix, times, probability, before=before, after=after))

    def delay(
        self,
        operation: str | None = None,
        seconds: float = 1.0,
        *,
        prefix: str = "",
        times: int | None = None,
        probability: float = 1.0,
    ) -> Fault:
        """Sleep `seconds` before the store is asked."""

        async def strike(call: Recorded) -> None:
            await self._sleep(seconds)

        return self._add(Fault(operation, prefix, times, probability, before=strike))

    def hang(
        self,
        operation: str | None = None,
        *,
        swallow: int | None = 0,
        prefix: str = "",
        times: int | None = None,
        probability: float = 1.0,
    ) -> Fault:
        """Never answer until `heal`. A call ignores as many cancellations as `swallow` says; None means all."""

        async def strike(call: Recorded) -> None:
            await self._hang(swallow)

        return self._add(Fault(operation, prefix, times, probability, before=strike))

    def lose_writes(self, *, prefix: str = "", times: int | None = None, probability: float = 1.0) -> Fault:
        """Say that `set_many`, `delete_many`, `swap` and `advance` succeeded, and do nothing."""
        return self._add(Fault(None, prefix, times, probability, loses=True))

    def alter(self, alter: Alter, *, prefix: str = "", times: int | None = None, probability: float = 1.0) -> Fault:
        """Let reads return `alter(key, value)` for each value; `times` and `probability` count values."""
        return self._add(Fault("get_many", prefix, times, probability, alter=alter))

    def corrupt(self, *, prefix: str = "", times: int | None = None, probability: float = 1.0) -> Fault:
        """Flip one bit of each value read."""

        def flip(key: str, value: bytes) -> bytes:
            if not value:
                return b"\0"
            bit = self._chance.randrange(len(value) * 8)
            damaged = bytearray(value)
            damaged[bit // 8] ^= 1 << bit % 8
            return bytes(damaged)

        return self.alter(flip, prefix=prefix, times=times, probability=probability)

    def truncate(self, *, prefix: str = "", times: int | None = None, probability: float = 1.0) -> Fault:
        """Cut each value read short, by a byte at least."""

        def cut(key: str, value: bytes) -> bytes:
            return value[: self._chance.randrange(len(value))] if value else value

        return self.alter(cut, prefix=prefix, times=times, probability=probability)

    def mix_up(self, *, prefix: str = "", times: int | None = None, probability: float = 1.0) -> Fault:
        """Return for each key a value that was read under another, once there is one."""

        def other(key: str, value: bytes) -> bytes:
            return next((seen for name, seen in self._seen.items() if name != key), value)

        return self.alter(other, prefix=prefix, times=times, probability=probability)

    def evict(self, *, prefix: str = "", times: int | None = None, probability: float = 1.0) -> Fault:
        """Delete the keys of a call that start with `prefix` from the store before it is carried out."""

        async def strike(call: Recorded) -> None:
            await self.inner.delete_many([key for key in call.keys if key.startswith(prefix)])

        return self._add(Fault(None, prefix, times, probability, before=strike))

    # The contract of a backend

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Read, then damage the values."""
        call = await self._begin("get_many", keys)
        values = await self.inner.get_many(keys)
        for key, value in zip(keys, values, strict=True):
            if value is not None:
                self._seen.pop(key, None)
                self._seen[key] = value
        while len(self._seen) > 2:
            del self._seen[next(iter(self._seen))]
        values = [
            value if value is None else self._altered(key, value) for key, value in zip(keys, values, strict=True)
        ]
        await self._end(call)
        return values

    async def set_many(self, items: Mapping[str, bytes], *, ttl: float | None) -> None:
        """Write, or say so."""
        call = await self._begin("set_many", list(items))
        if not self._lost(call):
            await self.inner.set_many(items, ttl=ttl)
        await self._end(call)

    async def delete_many(self, keys: Sequence[str]) -> int:
        """Delete, or say so."""
        call = await self._begin("delete_many", keys)
        deleted = len(set(keys)) if self._lost(call) else await self.inner.delete_many(keys)
        await self._end(call)
        return deleted

    async def swap(self, key: str, old: bytes | None, new: bytes | None, *, ttl: float | None) -> bool:
        """Swap, or say so."""
        call = await self._begin("swap", [key])
        swapped = self._lost(call) or await self.inner.swap(key, old, new, ttl=ttl)
        await self._end(call)
        return swapped

    async def _advance(self, inner: SupportsMarks, key: str) -> int:
        call = await self._begin("advance", [key])
        if self._lost(call):
            number = int((await self.inner.get_many([key]))[0] or 0) + 1
        else:
            number = await inner.advance(key)
        await self._end(call)
        return number

    async def aclose(self) -> None:
        """Close the inner backend."""
        call = await self._begin("aclose", [])
        await self.inner.aclose()
        await self._end(call)

    async def _scan(self, inner: SupportsScan, prefix: str) -> AsyncIterator[Sequence[str]]:
        pages = inner.scan(prefix)
        call = await self._begin("scan", [prefix])
        async for page in pages:
            yield page
            call = await self._begin("scan", [prefix])
        await self._end(call)

    async def _sizes(self, inner: SupportsSizes, keys: Sequence[str]) -> list[int]:
        call = await self._begin("sizes", keys)
        sizes = await inner.sizes(keys)
        await self._end(call)
        return sizes

    async def _time(self, inner: SupportsTime) -> float:
        call = await self._begin("time", [])
        now = await inner.time()
        await self._end(call)
        return now

    async def _touch(self, inner: SupportsTouch, keys: Sequence[str]) -> None:
        call = await self._begin("touch", keys)
        await inner.touch(keys)
        await self._end(call)

    async def _extend(self, inner: SupportsExtend, items: Mapping[str, bytes], *, ttl: float | None) -> list[bool]:
        call = await self._begin("extend", list(items))
        there = await inner.extend(items, ttl=ttl)
        await self._end(call)
        return there

    # How faults strike

    def _add(self, fault: Fault) -> Fault:
        self._faults.append(fault)
        return fault

    def _strikes(self, fault: Fault) -> bool:
        if fault.times == 0 or (fault.probability < 1 and self._chance.random() >= fault.probability):
            return False
        if fault.times is not None:
            fault.times -= 1
        fault.applied += 1
        return True

    async def _begin(self, operation: str, keys: Sequence[str]) -> Recorded:
        call = Recorded(operation, tuple(keys))
        self.calls.append(call)
        for fault in list(self._faults):
            if fault.before is not None and fault.concerns(call) and self._strikes(fault):
                await fault.before(call)
        return call

    async def _end(self, call: Recorded) -> None:
        for fault in list(self._faults):
            if fault.after is not None and fault.concerns(call) and self._strikes(fault):
                await fault.after(call)

    def _lost(self, call: Recorded) -> bool:
        return any(fault.loses and fault.concerns(call) and self._strikes(fault) for fault in self._faults)

    def _altered(self, key: str, value: bytes) -> bytes | None:
        altered: bytes | None = value
        for fault in self._faults:
            if (
                fault.alter is not None
                and key.startswith(fault.prefix)
                and altered is not None
                and self._strikes(fault)
            ):
                altered = fault.alter(key, altered)
        return altered

    async def _hang(self, swallow: int | None) -> None:
        released = asyncio.get_running_loop().create_future()
        self._hanging.add(released)
        ignored = 0
        try:
            while not released.done():
                try:
                    await asyncio.wait([released])  # does not cancel the future
                except asyncio.CancelledError:
                    if swallow is not None and ignored >= swallow:
                        raise
                    ignored += 1
                    self.swallowed += 1
        finally:
            self._hanging.discard(released)


def _finish(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
