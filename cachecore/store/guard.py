"""The guard between the cache and a store that may be sick.

Every call gets one deadline, a place among a bounded number of calls, and is not made at all while the breaker of its
partition is open. The result is an answer or a `BackendError`, in time, even if the driver hangs.

There are two kinds of calls. The guard itself makes those that a caller can do without: reads, and the writes of
computed values; they wait a few round trips. `Guard.explicit` makes those that a caller asked for: they wait
`write_timeout`, and a store whose answers are late does not refuse them. Connecting has a deadline of its own, and so
have no calls that have nothing to do with it: see `SupportsLinks`.

An open breaker refuses every call at once. When its back-off is over, the next refused call makes the guard read one of
its keys in the background: recovery is noticed at the price of one read, and no caller waits for it.
"""

from __future__ import annotations

import asyncio
import os
import random
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Final, TypeVar

from cachecore.contract.clock import Clock
from cachecore.contract.errors import BackendError
from cachecore.contract.options import MIB, StoreOptions
from cachecore.contract.protocols import (
    CacheBackend,
    FeedEvent,
    SupportsExtend,
    SupportsFeed,
    SupportsMarks,
    SupportsPartitions,
    SupportsReadNow,
    SupportsScan,
    SupportsSizes,
    SupportsTime,
    SupportsTouch,
)
from cachecore.store.breaker import State
from cachecore.store.call import Answered, Call
from cachecore.store.closing import close
from cachecore.store.dispatch import Dispatch, Observer
from cachecore.store.everywhere import everywhere
from cachecore.store.explicit import Explicit, Within
from cachecore.store.guarded_pages import guarded_pages
from cachecore.store.inline_read import InlineRead
from cachecore.store.partition import WHOLE_STORE, Partition

__all__ = ["Guard", "Observer"]

_REMEMBER: Final = 60.0
"""Seconds for which, at least, the largest value seen lengthens the deadlines of reads."""
_PER_KEY: Final = 50e-6
"""Seconds that each key of a call adds to its deadline."""
_PROBE: Final = "cachecore.probe"  # a key that no entry has
T = TypeVar("T")


class Guard:
    """CacheBackend around another: same answers, bounded waits, and every failure a `BackendError`.

    It has the optional abilities that `backend` has. May be used from several loops and threads, and after a fork. Adds
    a few microseconds to a call, and nothing but a raised error to one that is refused.

    A call whose keys lie in several partitions is one call to each, at the same time, with a deadline and a breaker
    each. A read fails if any of them fails. A write or delete is carried out wherever it can be before it fails.
    A deadline is `backend_timeout` or five round trips, plus `backend_timeout_per_mib` for the sent bytes or, since the
    size of an answer is not known before it came, for the largest answer or value of the last minute or two, plus 50 µs
    for each key. It is counted in the loop's own time (see `LoopTime`).

    A caller's cancellation does not reach the backend: the call goes on and its outcome is counted.
    """

    # Set in __init__ where `backend` has them, so that isinstance gives the same result for guard and backend.
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
        backend: CacheBackend,
        options: StoreOptions,
        *,
        clock: Clock,
        chance: random.Random,
        observer: Observer,
    ) -> None:
        self._backend = backend
        self._timeout_per_byte = options.backend_timeout_per_mib / MIB
        self._now = clock.monotonic
        self._observer = observer
        self._write_timeout = options.write_timeout
        self._calls = Dispatch(backend, options, clock=clock, chance=chance, observer=observer)
        self.refused = partial(self._calls.refused, self._read_budget)
        self.refusing = self._calls.not_closed
        self._partition: Callable[[str], str] | None = None
        if isinstance(backend, SupportsPartitions):
            self.partition = self._partition = backend.partition
        self._read_now = backend.read_now if isinstance(backend, SupportsReadNow) else None
        self.reads_now = self._read_now is not None
        """Whether `read_now` may read at all."""
        if isinstance(backend, SupportsScan):
            self.scan = partial(guarded_pages, self._calls, backend)
        if isinstance(backend, SupportsSizes):
            self.sizes = partial(self.value_sizes, backend)
        if isinstance(backend, SupportsTime):
            self.time = partial(self._time, backend)
        if isinstance(backend, SupportsTouch):
            self.touch = partial(self._touch, backend)
        if isinstance(backend, SupportsExtend):
            self.extend = partial(self.lengthen, backend)
        if isinstance(backend, SupportsFeed):
            self.feed = backend.feed  # never raises, never ends: nothing to guard
        if isinstance(backend, SupportsMarks):
            self.advance = partial(self.advance_mark, backend)
        self.explicit = Explicit(self, backend)
        """The same store, for calls that a caller waits for with time."""
        self._reset()
        _guards.add(self)

    def __repr__(self) -> str:
        return f"Guard({type(self._backend).__name__}, breakers={self.states()})"

    def _reset(self) -> None:
        """Begin anew, as in a forked child."""
        self._calls.reset()
        self._whole = self._calls.partition(WHOLE_STORE)
        self._largest = 0  # bytes, in this minute
        self._allowance = 0.0  # seconds that a read has for the largest value of this minute and the last
        self._remembered_until = self._now() + _REMEMBER

    def states(self) -> dict[str, State]:
        """Return the state of each partition's breaker; the empty name is the whole store's."""
        return self._calls.states()

    @property
    def under_way(self) -> int:
        """Return how many calls are under way, those given up on whose tasks have not ended included."""
        return sum(len(bulkhead.under_way) + len(bulkhead.abandoned) for bulkhead in self._calls.bulkheads())

    def sign_of_life(self) -> None:
        """Let the next call of each open breaker probe at once: the feed has heard from the store."""
        self._calls.sign_of_life()

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the live values in the order of `keys`. Raises `BackendError` within its deadline."""
        return await self.read(keys)

    async def read(self, keys: Sequence[str], *, explicit: bool = False) -> list[bytes | None]:
        """Return the live values in the order of `keys`, for a call of either kind."""
        if not keys:
            return []
        if self._partition is None:
            return self.fitting(keys, await self._read(self._whole, keys, explicit))
        parts = self._parts("get_many", keys)
        under_way = [self._read(partition, part, explicit) for partition, part in parts]
        values: dict[str, bytes | None] = {}
        for (_, part), answer in zip(parts, under_way, strict=True):
            values.update(zip(part, self.fitting(part, await answer), strict=True))
        return [values[key] for key in keys]

    async def set_many(self, items: Mapping[str, bytes], *, ttl: float | None) -> None:
        """Replace each key. Raises `BackendError` if any partition failed; the others have done their part."""
        await self.write(items, ttl)

    async def write(self, items: Mapping[str, bytes], ttl: float | None, *, explicit: bool = False) -> None:
        """Replace each key, for a call of either kind."""

        def start(partition: Partition, keys: Sequence[str]) -> asyncio.Future[None]:
            part = items if len(keys) == len(items) else {key: items[key] for key in keys}
            size = sum(map(len, part.values()))
            self._remember(size)
            budget = self._budget(partition, size, len(part), explicit)
            call = partial(self._backend.set_many, part, ttl=ttl)
            return self._calls.start(Call("set_many", partition, budget, call, keys[0], size, explicit))

        await everywhere(self._parts("set_many", list(items)), start)

    async def delete_many(self, keys: Sequence[str]) -> int:
        """Delete the keys; return how many existed. Raises `BackendError` if any partition failed."""
        return await self.delete(keys)

    async def delete(self, keys: Sequence[str], *, explicit: bool = False) -> int:
        """Delete the keys, for a call of either kind; return how many existed."""

        def start(partition: Partition, keys: Sequence[str]) -> asyncio.Future[int]:
            budget = self._budget(partition, 0, len(keys), explicit)
            call = partial(self._backend.delete_many, keys)
            return self._calls.start(Call("delete_many", partition, budget, call, keys[0], explicit=explicit))

        return sum(await everywhere(self._parts("delete_many", keys), start))

    async def swap(self, key: str, old: bytes | None, new: bytes | None, *, ttl: float | None) -> bool:
        """Make the value `new` if it is `old` now; return whether it was. After a timeout the outcome is unknown."""
        return await self.exchange(key, old, new, ttl)

    async def exchange(
        self, key: str, old: bytes | None, new: bytes | None, ttl: float | None, *, explicit: bool = False
    ) -> bool:
        """Make the value `new` if it is `old` now, for a call of either kind; return whether it was."""
        partition = self._whole if self._partition is None else self._calls.partition(self._node("swap", key))
        size = len(old or b"") + len(new or b"")
        self._remember(size)
        budget = self._budget(partition, size, 1, explicit)
        call = partial(self._backend.swap, key, old, new, ttl=ttl)
        swapped: bool = await self._calls.start(Call("swap", partition, budget, call, key, size, explicit))
        return swapped

    def refuse(self) -> None:
        """Begin no more calls: the cache is closed, and the backend is not its own to close."""
        self._calls.closed = True

    async def aclose(self) -> None:
        """Close the backend, within a second even if it hangs. Failures are counted, not raised.

        Calls under way may end, calls that wait for a place fail, later ones raise `BackendUnavailable`.
        """
        await close(self._calls, self._backend, self._observer)

    async def value_sizes(self, backend: SupportsSizes, keys: Sequence[str], *, explicit: bool = False) -> list[int]:
        """Ask each partition at the same time. Raises `BackendError` if any of them failed."""
        parts = self._parts("sizes", keys)
        under_way = [
            self._calls.start(
                Call("sizes", node, self._budget(node, 0, len(part), explicit), call, part[0], explicit=explicit)
            )
            for node, part in parts
            for call in (partial(backend.sizes, part),)
        ]
        sizes: dict[str, int] = {}
        for (_, part), answer in zip(parts, under_way, strict=True):
            sizes.update(zip(part, await answer, strict=True))
        return [sizes[key] for key in keys]

    async def _time(self, backend: SupportsTime) -> float:
        now: float = await self._calls.start(Call("time", self._whole, self._whole.patience, backend.time, _PROBE))
        return now

    async def _touch(self, backend: SupportsTouch, keys: Sequence[str]) -> None:
        """Touch each partition's keys at the same time. Raises `BackendError` if any of them failed."""

        def start(partition: Partition, keys: Sequence[str]) -> asyncio.Future[None]:
            budget = self._budget(partition, 0, len(keys))
            return self._calls.start(Call("touch", partition, budget, partial(backend.touch, keys), keys[0]))

        if keys:
            await everywhere(self._parts("touch", keys), start)

    async def lengthen(
        self, backend: SupportsExtend, items: Mapping[str, bytes], *, ttl: float | None, explicit: bool = False
    ) -> list[bool]:
        """Let keys of each partition live longer, at the same time. Raises `BackendError` if any of them failed."""
        there: dict[str, bool] = {}

        async def extend(part: dict[str, bytes]) -> None:
            there.update(zip(part, await backend.extend(part, ttl=ttl), strict=True))

        def start(partition: Partition, keys: Sequence[str]) -> asyncio.Future[None]:
            call = partial(extend, {key: items[key] for key in keys})
            budget = self._budget(partition, 0, len(keys), explicit)
            return self._calls.start(Call("extend", partition, budget, call, keys[0], explicit=explicit))

        await everywhere(self._parts("extend", list(items)), start)
        return [there[key] for key in items]

    def advance_mark(self, backend: SupportsMarks, key: str, *, explicit: bool = False) -> asyncio.Future[int]:
        """Begin at once, so that it reaches the store right behind the write that was begun before it."""
        partition = self._whole if self._partition is None else self._calls.partition(self._node("advance", key))
        budget = self._budget(partition, 0, 1, explicit)
        call = partial(backend.advance, key)
        return self._calls.start(Call("advance", partition, budget, call, key, explicit=explicit))

    def begin_read(self, keys: Sequence[str], answered: Answered, *, explicit: bool = False) -> None:
        """Read keys of one partition; `answered` gets the values or the error, in the very turn they come.

        For a caller that reads for many and can do without a task and a turn of the loop. `answered` must not raise.
        Raises `BackendUnavailable` at once where `get_many` would.
        """
        if self._read_now is not None and (values := self.read_now(keys)) is not None:
            answered(values, None)
            return
        partition = self._whole if self._partition is None else self._calls.partition(self._node("get_many", keys[0]))
        budget = self._read_budget(partition, len(keys), explicit)
        call = partial(self._backend.get_many, keys)
        waiter = InlineRead(self.fitting, keys, answered)
        self._calls.enter(Call("get_many", partition, budget, call, keys[0], 0, explicit, waiter))

    def read_now(self, keys: Sequence[str]) -> list[bytes | None] | None:
        """Return the live values, read within this call, from any thread; None: they must be asked for.

        So they must where the store cannot do it, and after a failure, since the breaker counts the next answer.
        """
        if self._read_now is None or not self._whole.breaker.calm or self._calls.closed:
            return None
        began = self._now()
        values = self._read_now(keys)
        if values is None or len(values) != len(keys):
            return None
        self._calls.took("get_many", self._now() - began)
        self._remember(sum(map(len, filter(None, values))))
        return values

    def _read(self, partition: Partition, keys: Sequence[str], explicit: bool) -> asyncio.Future[list[bytes | None]]:
        budget = self._read_budget(partition, len(keys), explicit)
        call = partial(self._backend.get_many, keys)
        return self._calls.start(Call("get_many", partition, budget, call, keys[0], explicit=explicit))

    def _read_budget(self, partition: Partition, keys: int, explicit: bool) -> float:
        now = self._now()
        if now > self._remembered_until:
            self._allowance = self._largest * self._timeout_per_byte  # the larger one of two minutes
            self._largest = 0
            self._remembered_until = now + _REMEMBER
        patience = self._write_timeout if explicit else partition.patience
        return patience + self._allowance + keys * _PER_KEY

    def fitting(self, keys: Sequence[str], values: list[bytes | None]) -> list[bytes | None]:
        """Return `values` if they can be those of `keys`. Raises `BackendError`."""
        if len(values) != len(keys):  # the values of other keys: an answer that must not be believed
            self._observer.backend_error("get_many", "protocol")
            raise BackendError("get_many", transient=True, reason="protocol")
        self._remember(sum(map(len, filter(None, values))))
        return values

    def _remember(self, size: int) -> None:
        if size > self._largest:
            self._largest = size
            self._allowance = max(self._allowance, size * self._timeout_per_byte)

    def _budget(self, partition: Partition, size: int, keys: int, explicit: bool = False) -> float:
        patience = self._write_timeout if explicit else partition.patience
        return patience + size * self._timeout_per_byte + keys * _PER_KEY

    def seconds_for(self, size: int) -> float:
        """Return the seconds that values of `size` bytes add to a deadline."""
        return size * self._timeout_per_byte

    def within(self, operation: str, keys: int) -> Within:
        """Return a context that raises `BackendTimeout` if explicit work takes longer than its deadline."""
        budget = self._budget(self._whole, 0, keys, explicit=True)
        return Within(self._calls.bulkhead(asyncio.get_running_loop()), operation, budget)

    def _node(self, operation: str, key: str) -> str:
        try:
            return WHOLE_STORE if self._partition is None else self._partition(key)
        except Exception as error:
            self._calls.report("partition", error)
            raise BackendError(operation, transient=True) from error

    def _parts(self, operation: str, keys: Sequence[str]) -> list[tuple[Partition, Sequence[str]]]:
        """Return the keys of each partition."""
        if self._partition is None:
            return [(self._whole, keys)] if keys else []
        parts: dict[str, list[str]] = {}
        for key in dict.fromkeys(keys):
            parts.setdefault(self._node(operation, key), []).append(key)
        return [(self._calls.partition(name), part) for name, part in parts.items()]


_guards: weakref.WeakSet[Guard] = weakref.WeakSet()


def _after_fork() -> None:
    for guard in list(_guards):
        guard._reset()  # noqa: SLF001 - the guard's own hook


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
