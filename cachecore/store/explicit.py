"""The store as explicit writes use it: they have `write_timeout`, and pass a breaker that late answers opened."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeVar

from cachecore.contract.errors import BackendTimeout
from cachecore.contract.futures import InlineRun
from cachecore.contract.protocols import CacheBackend, SupportsExtend, SupportsMarks, SupportsPartitions, SupportsSizes
from cachecore.store.bulkhead import Bulkhead, Limit
from cachecore.store.call import Answered, Values

T = TypeVar("T")

_LOCK_PAUSE: Final = 0.005
"""Seconds between two attempts to write to a store that another process has locked."""


class Within:
    """The deadline of work that makes several calls, counted from here in the loop's own time (see `LoopTime`).

    Work that is still in this context then is cancelled and raises `BackendTimeout`. May be entered again, for another
    part of the work. Work that is no task, but an `InlineRun`, is interrupted with that error instead: see `of`.
    """

    def __init__(self, bulkhead: Bulkhead, operation: str, seconds: float) -> None:
        self._bulkhead = bulkhead
        self._operation = operation
        self._deadline = bulkhead.time.own(bulkhead.loop.time()) + seconds
        self._expired = False
        self._cancelling = 0
        self._task: asyncio.Task[object] | None = None
        self._limit: Limit | None = None
        self._run: InlineRun[Any] | None = None

    def of(self, run: InlineRun[Any]) -> None:
        """Take note that the work is done by `run`, and by no task."""
        self._run = run

    @property
    def passed(self) -> bool:
        """Whether the deadline has passed."""
        return self._bulkhead.time.own(self._bulkhead.loop.time()) >= self._deadline

    def another(self) -> Within:
        """Return a context with the same deadline, for work at the same time."""
        other = Within(self._bulkhead, self._operation, 0.0)
        other._deadline = self._deadline
        return other

    def lengthen(self, seconds: float) -> Self:
        """Move the deadline, before the context is entered (again)."""
        self._deadline += seconds
        return self

    async def __aenter__(self) -> Self:
        if self._run is None:
            self._task = task = asyncio.current_task()
            assert task is not None  # noqa: S101 - asynchronous code runs in a task
            self._cancelling = task.cancelling()
        self._limit = self._bulkhead.limit(self._deadline, self._expire)
        return self

    def _expire(self) -> None:
        self._expired = True
        if self._run is not None:
            self._run.interrupt(BackendTimeout(self._operation))
        if self._task is not None:
            self._task.cancel()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._limit is not None:
            self._limit.lift()
        task, self._task = self._task, None
        # As `asyncio.timeout` tells it: whether only this deadline has cancelled the task.
        ours = self._expired and task is not None and task.uncancel() <= self._cancelling
        if ours and isinstance(error, asyncio.CancelledError):
            # It would become the context of the other error, and keep all that the frames of its traceback know.
            error.__traceback__ = error.__cause__ = error.__context__ = None
            raise BackendTimeout(self._operation) from None


class Calls(Protocol):
    """The guard: its calls, of either kind."""

    async def read(self, keys: Sequence[str], *, explicit: bool = ...) -> Values:
        """Return the live values in the order of `keys`."""

    async def write(self, items: Mapping[str, bytes], ttl: float | None, *, explicit: bool = ...) -> None:
        """Replace each key."""

    async def delete(self, keys: Sequence[str], *, explicit: bool = ...) -> int:
        """Delete the keys; return how many existed."""

    async def exchange(
        self, key: str, old: bytes | None, new: bytes | None, ttl: float | None, *, explicit: bool = ...
    ) -> bool:
        """Make the value `new` if it is `old` now; return whether it was."""

    def begin_read(self, keys: Sequence[str], answered: Answered, *, explicit: bool = ...) -> None:
        """Read keys of one partition."""

    def begin_write(self, items: Mapping[str, bytes], *, ttl: float | None, explicit: bool = ...) -> Awaitable[None]:
        """Begin to replace keys of one partition."""

    def within(self, operation: str, keys: int) -> Within:
        """Return the deadline of explicit work."""

    def advance_mark(self, backend: SupportsMarks, key: str, *, explicit: bool = ...) -> Awaitable[int]:
        """Add one to the counter under `key`; begins at once."""

    def value_sizes(self, backend: SupportsSizes, keys: Sequence[str], *, explicit: bool = ...) -> Awaitable[list[int]]:
        """Return the lengths of the values."""

    def lengthen(
        self, backend: SupportsExtend, items: Mapping[str, bytes], *, ttl: float | None, explicit: bool = ...
    ) -> Awaitable[list[bool]]:
        """Let keys that have these values live longer."""


class Explicit:
    """CacheBackend on a guard, for calls that a caller asked for and waits for."""

    partition: Callable[[str], str]
    advance: Callable[[str], Awaitable[int]]
    sizes: Callable[[Sequence[str]], Awaitable[list[int]]]
    extend: Callable[..., Awaitable[list[bool]]]

    def __init__(self, guard: Calls, backend: CacheBackend) -> None:
        self._guard = guard
        if isinstance(backend, SupportsPartitions):
            self.partition = backend.partition
        if isinstance(backend, SupportsMarks):
            self.advance = partial(guard.advance_mark, backend, explicit=True)
        if isinstance(backend, SupportsSizes):
            self.sizes = partial(guard.value_sizes, backend, explicit=True)
        if isinstance(backend, SupportsExtend):
            self.extend = partial(self._extend, backend)
        self.begin_read = partial(guard.begin_read, explicit=True)
        self.begin_write = partial(guard.begin_write, explicit=True)
        """Begins `set_many` of keys of one partition in this very turn; tries once, even where the store is locked."""

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the live values in the order of `keys`."""
        return await self._guard.read(keys, explicit=True)

    async def set_many(self, items: Mapping[str, bytes], *, ttl: float | None) -> None:
        """Replace each key."""
        await self._patiently(lambda: self._guard.write(items, ttl, explicit=True))

    async def delete_many(self, keys: Sequence[str]) -> int:
        """Delete the keys; return how many existed."""
        return await self._patiently(lambda: self._guard.delete(keys, explicit=True))

    async def swap(self, key: str, old: bytes | None, new: bytes | None, *, ttl: float | None) -> bool:
        """Make the value `new` if it is `old` now; return whether it was."""
        return await self._patiently(lambda: self._guard.exchange(key, old, new, ttl, explicit=True))

    async def _extend(self, backend: SupportsExtend, items: Mapping[str, bytes], *, ttl: float | None) -> list[bool]:
        return await self._patiently(lambda: self._guard.lengthen(backend, items, ttl=ttl, explicit=True))

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call again while another process holds a lock of the store, until the deadline of a single call."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        within: Within | None = None
        while True:
            try:
                return await call()
            except BackendTimeout as error:
                if error.reason != "locked":
                    raise
                if within is None:  # made here, because most calls need none
                    within = self._guard.within("locked", 1).lengthen(began - loop.time())
                if within.passed:
                    raise
            await asyncio.sleep(_LOCK_PAUSE)

    def within(self, operation: str, *, keys: int = 1) -> Within:
        """Return a context that raises `BackendTimeout` unless the work in it ends within `write_timeout`.

        The number of `keys` lengthens it as it does for a single call.
        """
        return self._guard.within(operation, keys)

    async def aclose(self) -> None:
        """Do nothing: the guard closes the store."""
