"""State of one event loop of one process: each loop gets its own, and a forked child starts anew.

A connection of another loop or of the parent process is never touched: a transport is bound to its loop, and a socket
inherited through a fork is shared with the parent, so that a child would take the parent's replies.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import AsyncGenerator, Callable
from typing import Generic, Protocol, TypeVar

from cachecore.contract import BackendUnavailable, LoopLocal
from cachecore.contract.forks import in_child


class Closable(Protocol):
    """An object kept for one loop."""

    def close(self) -> None:
        """Close at once; called in its own loop."""


T = TypeVar("T", bound=Closable)


class _Kept(Generic[T]):
    """The T of one loop."""

    __slots__ = ("__weakref__", "end", "loop", "made")

    def __init__(self, made: T, end: AsyncGenerator[None, None], loop: asyncio.AbstractEventLoop) -> None:
        self.made = made
        self.end = end
        """Closes it when its loop ends."""
        self.loop: asyncio.AbstractEventLoop | None = loop
        """None: it is closed."""


class PerLoop(Generic[T]):
    """One T for each event loop of this process, made on first use, closed when its loop ends.

    A loop that is dropped without being closed takes its T along; a table that is dropped closes what it has.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._kept: LoopLocal[_Kept[T]] = LoopLocal()
        self._last: Callable[[], _Kept[T] | None] = _nothing  # a weak reference to the one that was asked for last
        self._ended: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()
        self.closed = False
        weakref.finalize(self, _close_all, self._kept).atexit = False
        in_child(self.forget)

    def get(self, operation: str) -> T:
        """Return the running loop's T. Raises `BackendUnavailable` when closed."""
        loop = asyncio.get_running_loop()
        kept = self._last()
        if kept is None or kept.loop is not loop:
            kept = self._kept.get(loop)
            if kept is None:
                return self._new(operation, loop)
            self._last = weakref.ref(kept)
        return kept.made

    def _new(self, operation: str, loop: asyncio.AbstractEventLoop) -> T:
        if self.closed or loop in self._ended:  # nothing would close a T made while its loop ends
            raise BackendUnavailable(operation, transient=False, reason="closed")
        made = self._make()
        end = _until_its_end(loop, self._ended, self._kept)
        # A loop that ends closes the generators that began in it (asyncio.run does, and every runner of tests): the
        # only public signal of its end that comes while transports can still be closed.
        with contextlib.suppress(StopIteration):
            end.asend(None).send(None)
        self._kept.set(loop, _Kept(made, end, loop))
        return made

    def in_each_loop(self, function: Callable[[T], None]) -> None:
        """Call `function` with the T of each loop, in that loop: now in the running one, soon in the others."""
        here = asyncio.get_running_loop()
        for loop, kept in self._kept.items():
            if loop is here:
                function(kept.made)
                continue
            with contextlib.suppress(RuntimeError):  # the loop was closed, and its T is unusable
                loop.call_soon_threadsafe(function, kept.made)

    async def aclose(self) -> None:
        """Close every T: that of this loop now, those of other loops soon, in their loops. Idempotent."""
        self.closed = True
        here = asyncio.get_running_loop()
        kept = self._kept.get(here)
        _close_all(self._kept, besides=here)
        _drop(self._kept, here)
        if kept is not None:
            await kept.end.aclose()
        await asyncio.sleep(0)  # transports close in the next turn of the loop

    def forget(self) -> None:
        """Start anew in a forked child; the parent's objects are kept, unused, so that nothing closes them."""
        self._kept.forget()
        self._last = _nothing


def _nothing() -> None:
    return None


async def _until_its_end(
    loop: asyncio.AbstractEventLoop, ended: weakref.WeakSet[asyncio.AbstractEventLoop], kept: LoopLocal[_Kept[T]]
) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        ended.add(loop)
        _drop(kept, loop)


def _drop(kept: LoopLocal[_Kept[T]], loop: asyncio.AbstractEventLoop) -> None:
    """Close what the running `loop` has."""
    dropped = kept.pop(loop)
    if dropped is not None:
        dropped.loop = None
        dropped.made.close()


def _close_all(kept: LoopLocal[_Kept[T]], besides: asyncio.AbstractEventLoop | None = None) -> None:
    """Close soon what the loops have, each in its own."""
    for loop in kept.loops():
        if loop is not besides:
            with contextlib.suppress(RuntimeError):  # it is closed, and its transports with it
                loop.call_soon_threadsafe(_drop, kept, loop)
