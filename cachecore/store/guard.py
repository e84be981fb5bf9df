"""The guard between the cache and a store that may be sick.

Every call gets one deadline, a place among a bounded number of calls, and is not made at all while the breaker of its
partition is open. The result is an answer or a `BackendError`, in time, even if the driver hangs.

There are two guards of one store. The guard itself makes the calls that a caller can do without: reads, and the writes
of computed values; they wait a few round trips. `Guard.explicit` makes those that a caller asked for: they wait
`write_timeout`, a store whose answers are late does not refuse them, and a locked one is asked again. Connecting has a
deadline of its own, and so have no calls that have nothing to do with it: see `SupportsLinks`.

An open breaker refuses every call at once. When its back-off is over, the next refused call makes the guard read one of
its keys in the background: recovery is noticed at the price of one read, and no caller waits for it.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

from cachecore.contract.clock import Clock
from cachecore.contract.errors import BackendError, BackendTimeout
from cachecore.contract.forks import in_child
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
from cachecore.store.bulkhead import Within
from cachecore.store.call import Answered, Call
from cachecore.store.closing import close
from cachecore.store.dispatch import Dispatch, Observer
from cachecore.store.guarded_pages import guarded_pages
from cachecore.store.inline_read import InlineRead
from cachecore.store.joined import Calls, Spared, joined
from cachecore.store.partition import WHOLE_STORE, Partition

__all__ = ["Guard", "Observer"]

_REMEMBER: Final = 60.0
"""Seconds for which, at least, the largest value seen lengthens the deadlines of reads."""
_PER_KEY: Final = 50e-6
"""Seconds that each key of a call adds to its deadline."""
_PROBE: Final = "cachecore.probe"  # a key that no entry has
_LOCK_PAUSE: Final = 0.005  # seconds between two attempts at a store that another process has locked
Part = tuple[Partition, Sequence[str]]
"""A partition, and the keys of a call that lie there."""
T = TypeVar("T")


@dataclass(slots=True)
class _Sizes:
    """The largest values of the last two minutes: what a read, of which the size is not known, may have to wait for."""

    largest: int = 0  # bytes, in this minute
    allowance: float = 0.0  # seconds that a read has for the largest value of this minute and the last
    until: float = -math.inf  # monotonic second at which this minute ends


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

    # Set where `backend` has them, so that isinstance gives the same result for guard and backend.
    scan: Callable[[str], AsyncIterator[Sequence[str]]]
    sizes: Callable[[Sequence[str]], Awaitable[list[int]]]
    time: Callable[[], Awaitable[float]]
    touch: Callable[[Sequence[str]], Awaitable[None]]
    extend: Callable[..., Awaitable[list[bool]]]
    feed: Callable[[str], AsyncIterator[FeedEvent]]
    advance: Callable[[str], Awaitable[int]]
    partition: Callable[[str], str]
    _whole: Partition

    def __init__(
        self, backend: CacheBackend, options: StoreOptions, *, clock: Clock, chance: random.Random, observer: Observer
    ) -> None:
        self._backend = backend
        self._timeout_per_byte = options.backend_timeout_per_mib / MIB
        self._now = clock.monotonic
        self._observer = observer
        self._write_timeout = options.write_timeout
        self._calls = Dispatch(backend, options, clock=clock, chance=chance, observer=observer)
        self._sizes = _Sizes()
        self._patient = False
        self._has_abilities(backend)
        self.refused = partial(self._calls.refused, self._read_budget)
        self.refusing = self._calls.not_closed
        self.explicit = copy(self)  # for calls that a caller asked for and waits for
        self.explicit._patient = True  # noqa: SLF001 - of this class
        self.explicit._has_abilities(backend)  # noqa: SLF001 - of this class
        self._reset()
        in_child(self._reset)

    def _has_abilities(self, backend: CacheBackend) -> None:
        self._partition: Callable[[str], str] | None = None
        if isinstance(backend, SupportsPartitions):
            self.partition = self._partition = backend.partition
        self._read_now = backend.read_now if isinstance(backend, SupportsReadNow) else None
        self.reads_now = self._read_now is not None
        """Whether `read_now` may read at all."""
        if isinstance(backend, SupportsScan):
            self.scan = partial(guarded_pages, self._calls, backend)
        if isinstance(backend, SupportsSizes):
            self.sizes = partial(self._ask, "sizes", backend.sizes)
        if isinstance(backend, SupportsTime):
            self.time = partial(self._time, backend)
        if isinstance(backend, SupportsTouch):
            self.touch = partial(self._touch, backend)
        if isinstance(backend, SupportsExtend):
            self.extend = partial(self._extend, backend)
        if isinstance(backend, SupportsFeed):
            self.feed = backend.feed  # never raises, never ends: nothing to guard
        if isinstance(backend, SupportsMarks):
            self.advance = partial(self._advance, backend)

    def __repr__(self) -> str:
        return f"Guard({type(self._backend).__name__}, breakers={self.states()})"

    def _reset(self) -> None:
        """Begin anew, in a forked child."""
        self._calls.reset()
        self._whole = self.explicit._whole = self._calls.partition(WHOLE_STORE)  # noqa: SLF001 - of this class
        self._sizes.largest, self._sizes.allowance, self._sizes.until = 0, 0.0, -math.inf

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
        return await self._ask("get_many", self._backend.get_many, keys)

    async def set_many(self, items: Mapping[str, bytes], *, ttl: float | None) -> None:
        """Replace each key. Raises `BackendError` if any partition failed; the others have done their part."""

        def start(node: Part) -> asyncio.Future[None]:
            keys = node[1]
            part = items if len(keys) == len(items) else {key: items[key] for key in keys}
            call = partial(self._backend.set_many, part, ttl=ttl)
            return self._start("set_many", call, node, sum(map(len, part.values())))

        await self._everywhere("set_many", list(items), start)

    def begin_write(self, items: Mapping[str, bytes], *, ttl: float | None) -> asyncio.Future[None]:
        """Begin `set_many` of one partition in this very turn, once even if it is locked. Raises if it is refused."""
        keys = list(items)
        call = partial(self._backend.set_many, items, ttl=ttl)
        return self._start("set_many", call, (self._node("set_many", keys[0]), keys), sum(map(len, items.values())))

    def begin_joined(
        self, operation: str, calls: Calls, keys: Sequence[str], spared: Spared, size: int = 0
    ) -> asyncio.Future[list[Any]]:
        """Begin calls for keys of one partition in this very turn, as one call with `size` bytes; see `joined`."""
        return self._start(operation, partial(joined, calls, spared), (self._node(operation, keys[0]), keys), size)

    async def delete_many(self, keys: Sequence[str]) -> int:
        """Delete the keys; return how many existed. Raises `BackendError` if any partition failed."""

        def start(node: Part) -> asyncio.Future[int]:
            return self._start("delete_many", partial(self._backend.delete_many, node[1]), node)

        return sum(await self._everywhere("delete_many", keys, start))

    async def swap(self, key: str, old: bytes | None, new: bytes | None, *, ttl: float | None) -> bool:
        """Make the value `new` if it is `old` now; return whether it was. After a timeout the outcome is unknown."""
        size = len(old or b"") + len(new or b"")

        def start(node: Part) -> asyncio.Future[bool]:
            return self._start("swap", partial(self._backend.swap, key, old, new, ttl=ttl), node, size)

        if not self._patient:
            return await start((self._node("swap", key), (key,)))
        (swapped,) = await self._everywhere("swap", (key,), start)
        return swapped

    def refuse(self) -> None:
        """Begin no more calls: the cache is closed, and the backend is not its own to close."""
        self._calls.closed = True

    async def aclose(self) -> None:
        """Close the backend, within a second even if it hangs. Failures are counted, not raised.

        Calls under way may end, calls that wait for a place fail, later ones raise `BackendUnavailable`.
        """
        await close(self._calls, self._backend, self._observer)

    def _time(self, backend: SupportsTime) -> asyncio.Future[float]:
        return self._start("time", backend.time, (self._whole, (_PROBE,)))

    async def _touch(self, backend: SupportsTouch, keys: Sequence[str]) -> None:
        """Touch each partition's keys at the same time. Raises `BackendError` if any of them failed."""

        def start(node: Part) -> asyncio.Future[None]:
            return self._start("touch", partial(backend.touch, node[1]), node)

        await self._everywhere("touch", keys, start)

    async def _extend(self, backend: SupportsExtend, items: Mapping[str, bytes], *, ttl: float | None) -> list[bool]:
        """Let keys of each partition live longer, at the same time. Raises `BackendError` if any of them failed."""
        there: dict[str, bool] = {}

        async def extend(keys: Sequence[str]) -> None:
            part = {key: items[key] for key in keys}
            there.update(zip(part, await backend.extend(part, ttl=ttl), strict=True))

        def start(node: Part) -> asyncio.Future[None]:
            return self._start("extend", partial(extend, node[1]), node)

        await self._everywhere("extend", list(items), start)
        return [there[key] for key in items]

    def _advance(self, backend: SupportsMarks, key: str) -> asyncio.Future[int]:
        """Begin at once, so that it reaches the store right behind the write that was begun before it."""
        return self._start("advance", partial(backend.advance, key), (self._node("advance", key), (key,)))

    def begin_read(self, keys: Sequence[str], answered: Answered) -> None:
        """Read keys of one partition; `answered` gets the values or the error, in the very turn they come.

        For a caller that reads for many and can do without a task and a turn of the loop. `answered` must not raise.
        Raises `BackendUnavailable` at once where `get_many` would.
        """
        if self._read_now is not None and (values := self.read_now(keys)) is not None:
            answered(values, None)
            return
        partition = self._whole if self._partition is None else self._node("get_many", keys[0])
        budget = self._read_budget(partition, len(keys))
        call = partial(self._backend.get_many, keys)
        waiter = InlineRead(self._fitting, keys, answered)
        self._calls.enter(Call("get_many", partition, budget, call, keys[0], 0, self._patient, waiter))

    def _start(self, operation: str, call: Callable[[], Awaitable[T]], part: Part, size: int = 0) -> asyncio.Future[T]:
        """Begin the call of one partition for its keys, with `size` bytes of values; return its answer to be."""
        partition, keys = part
        if operation == "get_many":
            budget = self._read_budget(partition, len(keys))
        else:
            self._remember(size)
            patience = self._write_timeout if self._patient else partition.patience
            budget = patience + size * self._timeout_per_byte + len(keys) * _PER_KEY
        return self._calls.start(Call(operation, partition, budget, call, keys[0], size, self._patient))

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

    async def _ask(
        self, operation: str, call: Callable[[Sequence[str]], Awaitable[list[T]]], keys: Sequence[str]
    ) -> list[T]:
        """Return the answers in the order of `keys`, from each partition at the same time. Raises `BackendError`."""
        parts = self._parts(operation, keys)
        under_way = [self._start(operation, partial(call, part[1]), part) for part in parts]
        answers: dict[str, T] = {}
        for (_, part), answer in zip(parts, under_way, strict=True):
            values: Any = await answer
            if operation == "get_many":
                values = self._fitting(part, values)
            answers.update(zip(part, values, strict=True))
        return [answers[key] for key in keys]

    async def _everywhere(
        self, operation: str, keys: Sequence[str], start: Callable[[Part], asyncio.Future[T]]
    ) -> list[T]:
        """Call each partition with its keys, at the same time; raise the first error once all have ended.

        An explicit call is made again while another process holds a lock of the store, until its deadline.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        within: Within | None = None
        while True:
            under_way: list[asyncio.Future[T]] = []
            answers: list[T] = []
            failure: BackendError | None = None
            for part in self._parts(operation, keys):
                try:
                    under_way.append(start(part))
                except BackendError as error:
                    failure = failure or error
            for answer in under_way:
                try:
                    answers.append(await answer)
                except BackendError as error:
                    failure = failure or error
            if failure is None:
                return answers
            if not self._patient or failure.reason != "locked" or not isinstance(failure, BackendTimeout):
                raise failure
            if within is None:  # made here, because most calls need none
                within = self.within("locked").lengthen(began - loop.time())
            if within.passed:
                raise failure
            await asyncio.sleep(_LOCK_PAUSE)

    def _read_budget(self, partition: Partition, keys: int) -> float:
        now, sizes = self._now(), self._sizes
        if now > sizes.until:
            sizes.allowance = sizes.largest * self._timeout_per_byte  # the larger one of two minutes
            sizes.largest = 0
            sizes.until = now + _REMEMBER
        patience = self._write_timeout if self._patient else partition.patience
        return patience + sizes.allowance + keys * _PER_KEY

    def _fitting(self, keys: Sequence[str], values: list[bytes | None]) -> list[bytes | None]:
        """Return `values` if they can be those of `keys`. Raises `BackendError`."""
        if len(values) != len(keys):  # the values of other keys: an answer that must not be believed
            self._observer.backend_error("get_many", "protocol")
            raise BackendError("get_many", transient=True, reason="protocol")
        size = sum(map(len, filter(None, values)))
        if size > self._sizes.largest:
            self._remember(size)
        return values

    def _remember(self, size: int) -> None:
        sizes = self._sizes
        if size > sizes.largest:
            sizes.largest = size
            sizes.allowance = max(sizes.allowance, size * self._timeout_per_byte)

    def seconds_for(self, size: int) -> float:
        """Return the seconds that values of `size` bytes add to a deadline."""
        return size * self._timeout_per_byte

    def within(self, operation: str, *, keys: int = 1) -> Within:
        """Return a context that raises `BackendTimeout` unless the work in it ends within `write_timeout`.

        The number of `keys` lengthens it as it does for a single call.
        """
        bulkhead = self._calls.bulkhead(asyncio.get_running_loop())
        return Within(bulkhead, operation, self._write_timeout + keys * _PER_KEY)

    def _node(self, operation: str, key: str) -> Partition:
        """Return the partition of `key`. Raises `BackendError` where the backend cannot tell."""
        if self._partition is None:
            return self._whole
        try:
            name = self._partition(key)
        except Exception as error:
            self._calls.report("partition", error)
            raise BackendError(operation, transient=True) from error
        return self._calls.partition(name)

    def _parts(self, operation: str, keys: Sequence[str]) -> list[Part]:
        """Return the keys of each partition."""
        if self._partition is None:
            return [(self._whole, keys)] if keys else []
        parts: dict[Partition, list[str]] = {}
        for key in dict.fromkeys(keys):
            parts.setdefault(self._node(operation, key), []).append(key)
        return list(parts.items())
