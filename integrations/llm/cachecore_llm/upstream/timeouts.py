"""Deadlines that hold even where a driver swallows its cancellation: such a call is left behind, never waited for."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, Protocol, TypeVar

from cachecore_llm.errors import ProviderTimeoutError
from cachecore_llm.wire import JsonObject

_T = TypeVar("_T")
_AHEAD: Final = 256
"""Events that are read ahead of a stream's reader; then the provider waits."""


class Abandoned:
    """Tasks that nothing waits for any more. They are held, because the loop holds tasks weakly."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def add(self, task: asyncio.Task[Any]) -> None:
        """Cancel `task` and let it end when it will."""
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        task.cancel()

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # fetched, so that the loop does not report it: its caller has been answered


async def within(timeout: float, name: str, call: Callable[[], Awaitable[_T]], abandoned: Abandoned) -> _T:
    """Return the result of `call`. Raises ProviderTimeoutError after `timeout` seconds, even if the call goes on."""

    async def run() -> _T:
        return await call()

    task = asyncio.ensure_future(run())
    try:
        done, _ = await asyncio.wait({task}, timeout=timeout)
    except asyncio.CancelledError:
        abandoned.add(task)
        raise
    if not done:
        abandoned.add(task)
        raise ProviderTimeoutError(name, timeout)
    return task.result()


async def obeyed(timeout: float, name: str, call: Awaitable[_T]) -> _T:
    """Return the result of a call that ends when it is cancelled. Raises ProviderTimeoutError after `timeout` s."""
    limit = asyncio.timeout(timeout)
    try:
        async with limit:
            return await call
    except TimeoutError:
        if not limit.expired():
            raise  # the call's own
        raise ProviderTimeoutError(name, timeout) from None


class Events(Protocol):
    """A stream of events that can be closed."""

    def __aiter__(self) -> AsyncIterator[JsonObject]:
        """Return the events."""

    async def aclose(self) -> None:
        """Close the stream."""


class Pump:
    """Reads the events of a stream in a task of its own, which also closes it."""

    def __init__(self, name: str, events: Events, abandoned: Abandoned) -> None:
        self._name = name
        self._events = events
        self._abandoned = abandoned
        self._read: deque[JsonObject] = deque()
        self._room = asyncio.Event()
        self._room.set()
        self._waiter: asyncio.Future[None] | None = None
        self._task = asyncio.ensure_future(self._run())
        self._task.add_done_callback(lambda _: self._wake())

    async def _run(self) -> None:
        try:
            async for event in self._events:
                self._read.append(event)
                self._wake()
                if len(self._read) >= _AHEAD:
                    self._room.clear()
                    await self._room.wait()
        finally:
            await self._events.aclose()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def ready(self, timeout: float | None) -> bool:
        """Wait for the next event or the end; return whether it came within `timeout` seconds. For one reader."""
        if self._read or self._task.done():
            return True
        loop = asyncio.get_running_loop()
        self._waiter = waiter = loop.create_future()
        timer = None if timeout is None else loop.call_later(timeout, self._wake)
        try:
            await waiter
        finally:
            if timer is not None:
                timer.cancel()
            self._waiter = None
        return bool(self._read) or self._task.done()

    async def next(self, timeout: float | None) -> JsonObject | None:
        """Return the next event, None at the end. Raises the stream's error, or ProviderTimeoutError.

        For one reader.
        """
        if not await self.ready(timeout) and timeout is not None:
            raise ProviderTimeoutError(self._name, timeout)
        if self._read:
            event = self._read.popleft()
            if len(self._read) < _AHEAD:
                self._room.set()
            return event
        if not self._task.cancelled():
            self._task.result()  # raises the stream's error
        return None

    def close(self) -> None:
        """Stop reading; the provider's stream is closed when its task ends."""
        if not self._task.done():
            self._abandoned.add(self._task)
        elif not self._task.cancelled():
            self._task.exception()

    async def aclose(self) -> None:
        """Stop reading, and wait until the stream is closed."""
        self.close()
        if not self._task.done():
            await asyncio.wait({self._task})
