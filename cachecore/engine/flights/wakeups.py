"""Callers of one event loop that wait for another process's answer, woken early by the feed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable


class Wakeups:
    """The waits of one event loop for the entries of keys."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: dict[
            str, dict[asyncio.Future[None], None]
        ] = {}  # ordered: the first to wait is the first to go on

    def __len__(self) -> int:
        return len(self._waiting)

    async def wait(self, key: str, seconds: float) -> None:
        """Return after `seconds`, or as soon as `key` is said to have changed."""
        future: asyncio.Future[None] = self._loop.create_future()
        waiting = self._waiting.setdefault(key, {})
        waiting[future] = None
        timer = self._loop.call_later(seconds, _finish, future)
        try:
            await future
        finally:
            timer.cancel()
            waiting.pop(future, None)
            if not waiting and self._waiting.get(key) is waiting:
                del self._waiting[key]

    def wake(self, keys: Iterable[str]) -> None:
        """End the waits for `keys`. May be called from another thread."""
        if not self._waiting:
            return
        for key in keys:
            if key in self._waiting:
                self._loop.call_soon_threadsafe(self._wake, key)

    def _wake(self, key: str) -> None:
        for future in self._waiting.get(key, ()):
            _finish(future)


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
