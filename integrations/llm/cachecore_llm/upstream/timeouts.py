"""Deadlines that hold even where a driver swallows its cancellation: such a call is left behind, never waited for."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Final, TypeVar

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
    """Return what `call` returns. Raises ProviderTimeoutError after `timeout` seconds, whatever the call does then."""

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


class Pump:
    """Reads the events of a provider's stream in a task of its own, which also closes it."""

    def __init__(self, name: str, events: AsyncGenerator[JsonObject, None], abandoned: Abandoned) -> None:
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

    async def next(self, timeout: float) -> JsonObject | None:
        """Return the next event, None at the end. Raises what the stream raised, or ProviderTimeoutError.

        For one reader.
        """
        if not self._read and not self._task.done():
            loop = asyncio.get_running_loop()
            self._waiter = waiter = loop.create_future()
            timer = loop.call_later(timeout, self._wake)
            try:
                await waiter
            finally:
                timer.cancel()
                self._waiter = None
            if not self._read and not self._task.done():
                raise ProviderTimeoutError(self._name, timeout)
        if self._read:
            event = self._read.popleft()
            if len(self._read) < _AHEAD:
                self._room.set()
            return event
        if not self._task.cancelled():
            self._task.result()  # raises what the stream raised
        return None

    def close(self) -> None:
        """Stop reading; the provider's stream is closed when its task ends."""
        if not self._task.done():
            self._abandoned.add(self._task)
        elif not self._task.cancelled():
            self._task.exception()
