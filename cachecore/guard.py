"""The guard: what stands between the cache and a store that may be sick.

Every call gets one deadline, a place among a bounded number of calls, and is not made at all while the breaker of its
partition is open. What comes out is an answer or a `BackendError`, in time, whatever the driver does.

An open breaker refuses every call at once. When its back-off is over, the next refused call makes the guard read one of
its keys behind the caller's back: recovery is noticed at the price of one read, and nobody waits for it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from cachecore.breaker import Breaker, State
from cachecore.clock import Clock
from cachecore.errors import BackendError, BackendTimeout, BackendUnavailable
from cachecore.lane import Call, Lane
from cachecore.options import MIB, StoreOptions, seconds
from cachecore.protocols import (
    CacheBackend,
    FeedEvent,
    SupportsFeed,
    SupportsPartitions,
    SupportsScan,
    SupportsTime,
)

CLOSE_TIMEOUT: Final = 1.0
"""Seconds that closing may take, however the store and its driver behave."""
SCAN_DEADLINES: Final = 20
"""Deadlines that one page of a scan gets: a store may look at many keys to find a few."""
_REMEMBER: Final = 60.0
"""Seconds for which, at least, the largest value seen lengthens the deadlines of reads."""
_WHOLE_STORE: Final = ""

T = TypeVar("T")

_log = logging.getLogger("cachecore")


class Observer(Protocol):
    """Who is told how the store does. Called from any thread, often; must be quick and must not raise."""

    def backend_call(self, operation: str, seconds: float) -> None:
        """A call ended, well or badly, after `seconds`."""

    def backend_error(self, operation: str, reason: str) -> None:
        """A call failed or was refused; `reason` is one short word."""

    def breaker_state(self, partition: str, state: str) -> None:
        """The breaker of `partition` (the empty name: of the store) is now `closed`, `open` or `half_open`."""


class Guard:
    """CacheBackend around another: same answers, bounded waits, and every failure a `BackendError`.

    It has the optional abilities that `backend` has. May be used from several loops and threads, and after a fork. Adds
    a few microseconds to a call, and nothing but a raised error to one that is refused.

    A call whose keys lie in several partitions is one call to each, at the same time, with a deadline and a breaker
    each. A read fails if any of them fails. A write or delete is carried out wherever it can be before it fails.
    A deadline is `backend_timeout` plus `backend_timeout_per_mib` for what is sent or, since nobody knows the size of
    an answer before it came, for the largest answer or value of the last minute or two.

    A caller's cancellation does not reach the backend: the call goes on and its outcome is counted.
    """

    # Set in __init__ where `backend` has them, so that isinstance says of the guard what it says of the backend.
    scan: Callable[[str], AsyncIterator[Sequence[str]]]
    time: Callable[[], Awaitable[float]]
    feed: Callable[[str], AsyncIterator[FeedEvent]]
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
        self._options = options
        self._timeout = seconds("backend_timeout", options.backend_timeout)
        self._timeout_per_byte = seconds("backend_timeout_per_mib", options.backend_timeout_per_mib) / MIB
        self._now = clock.monotonic
        self._chance = chance
        self._observer = observer
        self._closed = False
        self._reported: set[tuple[str, type]] = set()
        self._partition: Callable[[str], str] | None = None
        if isinstance(backend, SupportsPartitions):
            self.partition = self._partition = backend.partition
        if isinstance(backend, SupportsScan):
            self.scan = partial(self._scan, backend)
        if isinstance(backend, SupportsTime):
            self._store_time = backend.time
            self.time = self._time
        if isinstance(backend, SupportsFeed):
            self.feed = backend.feed  # never raises, never ends: nothing to guard
        self._reset()
        _guards.add(self)

    def __repr__(self) -> str:
        return f"Guard({self._backend!r}, breakers={self.states()})"

    def _reset(self) -> None:
        """Forget what belongs to other processes: their tasks, their loops, their opinion of the store."""
        self._inherited = getattr(self, "_lanes", None)  # kept: a pending task must not be collected, it would complain
        self._lanes: dict[int, Lane] = {}  # by id of the loop, which the lane keeps alive
        self._breakers: dict[str, Breaker] = {}
        self._breaker = self._breaker_of(_WHOLE_STORE)
        self._largest = self._largest_before = 0
        self._remembered_until = self._now() + _REMEMBER

    def states(self) -> dict[str, State]:
        """Return the state of each partition's breaker; the empty name is the whole store's."""
        return {name: breaker.state for name, breaker in list(self._breakers.items())}

    @property
    def calls(self) -> int:
        """Return how many calls are under way, those given up on whose tasks have not ended included."""
        return sum(len(lane.under_way) + len(lane.abandoned) for lane in list(self._lanes.values()))

    def sign_of_life(self) -> None:
        """Let each breaker that is open probe with the next call: somebody else has heard from the store."""
        for breaker in list(self._breakers.values()):
            breaker.hint(self._now())

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the live values in the order of `keys`. Raises `BackendError` within its deadline."""
        if not keys:
            return []
        parts = None if self._partition is None else self._parts(keys)
        if parts is None:
            values: list[bytes | None] = await self._start(
                "get_many", self._breaker, partial(self._fetch, keys), keys[0], self._read_size()
            )
            return values
        under_way = []
        for name, positions in parts.items():
            part = [keys[position] for position in positions]
            breaker = self._breaker_of(name)
            under_way.append(self._start("get_many", breaker, partial(self._fetch, part), part[0], self._read_size()))
        values = [None] * len(keys)
        for positions, answer in zip(parts.values(), under_way, strict=True):
            for position, value in zip(positions, await answer, strict=True):
                values[position] = value
        return values

    async def set_many(self, items: Mapping[str, bytes], *, ttl: float | None) -> None:
        """Replace each key. Raises `BackendError` if any partition failed; the others have done their part."""

        def start(breaker: Breaker, keys: Sequence[str]) -> asyncio.Future[None]:
            part = items if len(keys) == len(items) else {key: items[key] for key in keys}
            size = sum(map(len, part.values()))
            self._remember(size)
            return self._start("set_many", breaker, partial(self._backend.set_many, part, ttl=ttl), keys[0], size)

        await self._everywhere(list(items), start)

    async def delete_many(self, keys: Sequence[str]) -> int:
        """Delete the keys; return how many existed. Raises `BackendError` if any partition failed."""

        def start(breaker: Breaker, keys: Sequence[str]) -> asyncio.Future[int]:
            return self._start("delete_many", breaker, partial(self._backend.delete_many, keys), keys[0], 0)

        return sum(await self._everywhere(keys, start))

    async def swap(self, key: str, old: bytes | None, new: bytes | None, *, ttl: float | None) -> bool:
        """Make the value `new` if it is `old` now; return whether it was. After a timeout nobody knows."""
        breaker = self._breaker if self._partition is None else self._breaker_of(self._partition(key))
        size = len(old or b"") + len(new or b"")
        self._remember(size)
        swapped: bool = await self._start(
            "swap", breaker, partial(self._backend.swap, key, old, new, ttl=ttl), key, size
        )
        return swapped

    async def aclose(self) -> None:
        """Close the backend, within a second even if it hangs. What goes wrong is counted, not raised.

        Calls under way may end, calls that wait for a place fail, later ones raise `BackendUnavailable`.
        """
        self._closed = True
        loop = asyncio.get_running_loop()
        lane = self._lane(loop)
        lane.drop_waiting(_closed)
        ends = loop.time() + CLOSE_TIMEOUT
        await _until(ends - CLOSE_TIMEOUT / 2, [call.task for call in lane.under_way])
        self._closing = loop.create_task(self._close())
        await _until(ends - CLOSE_TIMEOUT / 10, [self._closing])
        left = [call.task for call in [*lane.under_way, *lane.abandoned]]
        while any(task is not None and not task.done() for task in (*left, self._closing)) and loop.time() < ends:
            for task in (*left, self._closing):
                if task is not None:
                    task.cancel()  # again and again: some drivers swallow the first
            await _until(loop.time() + 0.02, [*left, self._closing])

    async def _close(self) -> None:
        try:
            await self._backend.aclose()
        except BackendError as error:
            self._observer.backend_error("aclose", error.reason)
        except Exception as error:  # noqa: BLE001 - a driver's bug must not take the caller down; it is logged
            self._observer.backend_error("aclose", "error")
            self._report("aclose", error)

    async def _scan(self, backend: SupportsScan, prefix: str) -> AsyncIterator[Sequence[str]]:
        """Guard each page by itself: a scan takes as long as the store is large."""
        pages = backend.scan(prefix)
        between_pages = False
        try:
            while True:
                between_pages = False
                page = await self._start(
                    "scan", self._breaker, partial(anext, pages, None), prefix, 0, deadlines=SCAN_DEADLINES
                )
                between_pages = True
                if page is None:
                    break
                yield page
        finally:
            close = getattr(pages, "aclose", None)
            if between_pages and close is not None and not self._closed:
                await self._start("scan", self._breaker, close, prefix, 0)

    async def _time(self) -> float:
        now: float = await self._start("time", self._breaker, self._store_time, None, 0)
        return now

    async def _fetch(self, keys: Sequence[str]) -> list[bytes | None]:
        values = await self._backend.get_many(keys)
        if len(values) != len(keys):  # the values of other keys: an answer that must not be believed
            raise BackendError("get_many", transient=True, reason="protocol")
        self._remember(sum(map(len, filter(None, values))))
        return values

    def _parts(self, keys: Sequence[str]) -> dict[str, list[int]]:
        """Return the positions of `keys` by partition."""
        parts: dict[str, list[int]] = {}
        for position, key in enumerate(keys):
            name = _WHOLE_STORE if self._partition is None else self._partition(key)
            parts.setdefault(name, []).append(position)
        return parts

    async def _everywhere(
        self, keys: Sequence[str], start: Callable[[Breaker, Sequence[str]], asyncio.Future[T]]
    ) -> list[T]:
        """Call each partition with its keys, at the same time; raise the first error once all have ended."""
        if not keys:
            return []
        if self._partition is None:
            return [await start(self._breaker, keys)]
        answers: list[T] = []
        under_way: list[asyncio.Future[T]] = []
        failure: BackendError | None = None
        for name, positions in self._parts(keys).items():
            try:
                under_way.append(start(self._breaker_of(name), [keys[position] for position in positions]))
            except BackendError as error:
                failure = failure or error
        for answer in under_way:
            try:
                answers.append(await answer)
            except BackendError as error:
                failure = failure or error
        if failure is not None:
            raise failure
        return answers

    # One call

    def _start(
        self,
        operation: str,
        breaker: Breaker,
        start: Callable[[], Awaitable[Any]],
        key: str | None,
        size: int,
        *,
        deadlines: int = 1,
    ) -> asyncio.Future[Any]:
        """Begin a call that sends or brings `size` bytes, and return its answer to be; or raise `BackendUnavailable`.

        `key` is what a probe of that partition may read.
        """
        if self._closed:
            raise _closed(operation)
        loop = asyncio.get_running_loop()
        lane = self._lanes.get(id(loop)) or self._lane(loop)
        ticket = breaker.admit()
        if ticket is None:
            self._probe(lane, breaker, key)
            self._observer.backend_error(operation, "breaker_open")
            raise BackendUnavailable(operation, reason="breaker_open")
        waiter: asyncio.Future[Any] = loop.create_future()
        budget = self._timeout * deadlines + size * self._timeout_per_byte
        lane.enter(Call(operation, breaker, ticket, budget, start, waiter))
        return waiter

    def _probe(self, lane: Lane, breaker: Breaker, key: str | None) -> None:
        """Ask whether the store is back, if it is time to."""
        ticket = breaker.probe(self._now())
        if ticket is None:
            return
        read = partial(self._backend.get_many, [key]) if key else self._store_time
        budget = self._timeout + self._read_size() * self._timeout_per_byte
        lane.enter(Call("probe", breaker, ticket, budget, read, None))

    async def _attend(self, lane: Lane, call: Call) -> None:
        """Be the task of `call`: carry it out and tell everyone who has to know how it went."""
        call.deadline = lane.loop.time() + call.budget  # counted from here: a busy loop is not the store's fault
        try:
            answer = await call.start()
        except BackendError as error:
            self._failed(lane, call, error)
        except asyncio.CancelledError:
            task = call.task
            if call.abandoned:
                return
            if task is not None and task.cancelling():  # the loop is being shut down
                call.breaker.undecided(call.ticket, self._now())
                call.fail(BackendUnavailable(call.operation, reason="cancelled"))
                raise
            self._failed(lane, call, BackendError(call.operation, transient=True, reason="cancelled"))
        except Exception as error:  # noqa: BLE001 - a driver's bug costs a computation like any failure; it is logged
            self._report(call.operation, error)
            failure = BackendError(call.operation, transient=True)
            failure.__cause__ = error
            self._failed(lane, call, failure)
        except (KeyboardInterrupt, SystemExit) as error:
            call.breaker.undecided(call.ticket, self._now())
            failure = BackendError(call.operation, transient=True)
            failure.__cause__ = error
            call.fail(failure)
            raise
        else:
            self._observer.backend_call(call.operation, lane.loop.time() - call.begun)
            if not call.abandoned:
                call.breaker.succeeded(call.ticket)
                if call.waiter is None:
                    lane.forget(call.breaker)
                call.settle(answer)
        finally:
            lane.leave(call)

    def _failed(self, lane: Lane, call: Call, error: BackendError) -> None:
        self._observer.backend_call(call.operation, lane.loop.time() - call.begun)
        if call.abandoned:
            return  # counted when it missed its deadline
        if error.transient:
            call.breaker.failed(call.ticket, self._now())
        else:
            call.breaker.undecided(call.ticket, self._now())
        self._observer.backend_error(call.operation, error.reason)
        call.fail(error)

    def _missed(self, call: Call, error: BackendTimeout, blame: bool) -> None:
        if blame:
            call.breaker.failed(call.ticket, self._now())
        else:
            call.breaker.undecided(call.ticket, self._now())
        self._observer.backend_error(call.operation, error.reason)
        call.fail(error)

    def _report(self, operation: str, error: Exception) -> None:
        """Log a driver's bug once, without the error's text: it may hold a key or a value."""
        kind = (operation, type(error))
        if kind in self._reported:
            return
        self._reported.add(kind)
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        where = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else "?"
        name = type(self._backend).__name__
        _log.error("%s.%s raised %s at %s, which is no BackendError", name, operation, type(error).__name__, where)

    # What is kept

    def _lane(self, loop: asyncio.AbstractEventLoop) -> Lane:
        lane = self._lanes.get(id(loop))
        if lane is None:
            for other in [other for other, lane in list(self._lanes.items()) if lane.loop.is_closed()]:
                self._lanes.pop(other, None)
            lane = self._lanes[id(loop)] = Lane(loop, self._options.max_in_flight, self._attend, self._missed)
        return lane

    def _breaker_of(self, partition: str) -> Breaker:
        breaker = self._breakers.get(partition)
        if breaker is None:
            made = Breaker(self._options, self._chance, partial(self._observer.breaker_state, partition))
            breaker = self._breakers.setdefault(partition, made)  # atomic: of two threads, one breaker wins
        return breaker

    def _remember(self, size: int) -> None:
        self._largest = max(self._largest, size)

    def _read_size(self) -> int:
        """Return the size that a read is given time for: the largest of this and the last period."""
        now = self._now()
        if now > self._remembered_until:
            self._largest, self._largest_before = 0, self._largest
            self._remembered_until = now + _REMEMBER
        return max(self._largest, self._largest_before)


def _closed(operation: str) -> BackendUnavailable:
    return BackendUnavailable(operation, transient=False, reason="closed")


async def _until(deadline: float, tasks: Sequence[asyncio.Task[None] | None]) -> None:
    """Wait for `tasks` to end, until `deadline` (the loop's clock)."""
    waiting = [task for task in tasks if task is not None and not task.done()]
    if waiting:
        await asyncio.wait(waiting, timeout=max(0.0, deadline - asyncio.get_running_loop().time()))


_guards: weakref.WeakSet[Guard] = weakref.WeakSet()


def _after_fork() -> None:
    for guard in list(_guards):
        guard._reset()  # noqa: SLF001 - the guard's own hook


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
