"""What belongs to one event loop of one process, kept so: each loop gets its own, a forked child starts anew.

A connection of another loop or of the parent process is never touched: a transport is bound to its loop, and a socket
inherited through a fork is shared with the parent, whose replies a child would steal.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import AsyncGenerator, Callable
from typing import Any, Generic, Protocol, TypeVar

from cachecore.contract.errors import BackendUnavailable


class Closable(Protocol):
    """What is kept for a loop."""

    def close(self) -> None:
        """Close at once; called in its own loop."""


T = TypeVar("T", bound=Closable)


class PerLoop(Generic[T]):
    """One T for each event loop of this process, made when first asked for, closed when its loop ends."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._kept: dict[asyncio.AbstractEventLoop, T] = {}  # written under _lock
        self._sentinels: dict[asyncio.AbstractEventLoop, AsyncGenerator[None, None]] = {}  # guarded by _lock
        self._ended: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()
        self._inherited: list[object] = []
        self.closed = False
        _everything.add(self)

    def get(self, operation: str) -> T:
        """Return the running loop's. Raises `BackendUnavailable` when closed."""
        loop = asyncio.get_running_loop()
        found = self._kept.get(loop)
        return found if found is not None else self._new(operation, loop)

    def _new(self, operation: str, loop: asyncio.AbstractEventLoop) -> T:
        if self.closed or loop in self._ended:  # a call made while its loop ends would open what nobody closes
            raise BackendUnavailable(operation, transient=False, reason="closed")
        made = self._make()
        end = self._end(loop)
        # A loop that ends closes the generators that began in it (asyncio.run does, and every runner of tests): the
        # one public way to learn of it while transports can still be closed.
        try:
            end.asend(None).send(None)
        except StopIteration:
            pass
        with self._lock:
            for other in [other for other in self._kept if other.is_closed()]:
                self._kept.pop(other, None)
                self._sentinels.pop(other, None)
            self._kept[loop] = made
            self._sentinels[loop] = end
        return made

    async def _end(self, loop: asyncio.AbstractEventLoop) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            self._ended.add(loop)
            self._drop(loop)

    def _drop(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._lock:
            found = self._kept.pop(loop, None)
            self._sentinels.pop(loop, None)
        if found is not None:
            found.close()

    def tell(self, what: Callable[[T], None]) -> None:
        """Have `what` called with what is kept for each loop, in that loop: with this one's now."""
        here = asyncio.get_running_loop()
        for loop, kept in list(self._kept.items()):
            if loop is here:
                what(kept)
                continue
            try:
                loop.call_soon_threadsafe(what, kept)
            except RuntimeError:
                pass  # it was closed, and what it kept is of no use to anybody

    async def aclose(self) -> None:
        """Close everything: this loop's now, that of other loops by asking them. Idempotent."""
        self.closed = True
        here = asyncio.get_running_loop()
        with self._lock:
            loops = list(self._kept)
            mine = self._sentinels.get(here)
        for loop in loops:
            if loop is not here and not loop.is_closed():
                try:
                    loop.call_soon_threadsafe(self._drop, loop)
                except RuntimeError:
                    pass  # it was closed just now, and its transports with it
        self._drop(here)
        if mine is not None:
            await mine.aclose()
        await asyncio.sleep(0)  # transports close in the next turn of the loop

    def forget(self) -> None:
        """Start anew in a forked child; what the parent uses is kept unused, so that nothing closes it."""
        self._inherited.append((self._kept, self._sentinels))
        self._lock = threading.Lock()
        self._kept = {}
        self._sentinels = {}


_everything: weakref.WeakSet[PerLoop[Any]] = weakref.WeakSet()


def _forget() -> None:
    for kept in list(_everything):
        kept.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
