"""State of one event loop of one process: each loop gets its own, and a forked child starts anew.

A connection of another loop or of the parent process is never touched: a transport is bound to its loop, and a socket
inherited through a fork is shared with the parent, so that a child would take the parent's replies.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import AsyncGenerator, Callable
from typing import Any, Generic, Protocol, TypeVar

from cachecore.contract import BackendUnavailable


class Closable(Protocol):
    """An object kept for one loop."""

    def close(self) -> None:
        """Close at once; called in its own loop."""


T = TypeVar("T", bound=Closable)


class PerLoop(Generic[T]):
    """One T for each event loop of this process, made on first use, closed when its loop ends."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._kept: dict[asyncio.AbstractEventLoop, T] = {}  # written under _lock
        self._end_hooks: dict[asyncio.AbstractEventLoop, AsyncGenerator[None, None]] = {}  # guarded by _lock
        self._ended: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()
        self._inherited: list[object] = []
        self.closed = False
        _instances.add(self)

    def get(self, operation: str) -> T:
        """Return the running loop's T. Raises `BackendUnavailable` when closed."""
        loop = asyncio.get_running_loop()
        kept = self._kept.get(loop)
        return kept if kept is not None else self._new(operation, loop)

    def _new(self, operation: str, loop: asyncio.AbstractEventLoop) -> T:
        if self.closed or loop in self._ended:  # nothing would close a T made while its loop ends
            raise BackendUnavailable(operation, transient=False, reason="closed")
        made = self._make()
        end = self._end(loop)
        # A loop that ends closes the generators that began in it (asyncio.run does, and every runner of tests): the
        # only public signal of its end that comes while transports can still be closed.
        try:
            end.asend(None).send(None)
        except StopIteration:
            pass
        with self._lock:
            for other in [other for other in self._kept if other.is_closed()]:
                self._kept.pop(other, None)
                self._end_hooks.pop(other, None)
            self._kept[loop] = made
            self._end_hooks[loop] = end
        return made

    async def _end(self, loop: asyncio.AbstractEventLoop) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            self._ended.add(loop)
            self._drop(loop)

    def _drop(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._lock:
            kept = self._kept.pop(loop, None)
            self._end_hooks.pop(loop, None)
        if kept is not None:
            kept.close()

    def in_each_loop(self, function: Callable[[T], None]) -> None:
        """Call `function` with the T of each loop, in that loop: now in the running one, soon in the others."""
        here = asyncio.get_running_loop()
        for loop, kept in list(self._kept.items()):
            if loop is here:
                function(kept)
                continue
            try:
                loop.call_soon_threadsafe(function, kept)
            except RuntimeError:
                pass  # the loop was closed, and its T is unusable

    async def aclose(self) -> None:
        """Close every T: that of this loop now, those of other loops soon, in their loops. Idempotent."""
        self.closed = True
        here = asyncio.get_running_loop()
        with self._lock:
            loops = list(self._kept)
            end_hook = self._end_hooks.get(here)
        for loop in loops:
            if loop is not here and not loop.is_closed():
                try:
                    loop.call_soon_threadsafe(self._drop, loop)
                except RuntimeError:
                    pass  # it was closed just now, and its transports with it
        self._drop(here)
        if end_hook is not None:
            await end_hook.aclose()
        await asyncio.sleep(0)  # transports close in the next turn of the loop

    def forget(self) -> None:
        """Start anew in a forked child; the parent's objects are kept, unused, so that nothing closes them."""
        self._inherited.append((self._kept, self._end_hooks))
        self._lock = threading.Lock()
        self._kept = {}
        self._end_hooks = {}


_instances: weakref.WeakSet[PerLoop[Any]] = weakref.WeakSet()


def _forget_all() -> None:
    for instance in list(_instances):
        instance.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
