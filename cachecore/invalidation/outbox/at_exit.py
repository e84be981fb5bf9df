"""The end of the interpreter: pending invalidations are sent once more, and the log says how many are left.

A program may end without closing its cache. The attempt comes before the interpreter stops starting threads, because
drivers resolve names and open files in threads; the log comes last, because threads of the program may go on until
then. Nothing happens where nothing pends, nor in a forked child that has not used its cache.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures.thread
import logging
import threading
from collections.abc import Callable, Collection
from typing import Final, Protocol

logger = logging.getLogger("cachecore")

_PATIENCE: Final = 1.0
"""Seconds beyond an attempt's own bound for which the loop that makes it is waited for."""


_MOST_DROPPED: Final = 16
"""The number of outboxes that are kept although all event loops of their caches have ended."""


class Pending(Protocol):
    """Invalidations that the store has not acknowledged."""

    patience: float

    def __len__(self) -> int: ...

    @property
    def loops(self) -> Collection[asyncio.AbstractEventLoop]:
        """Return the event loops of this process that deliver them."""

    async def last_attempts(self) -> bool:
        """Try to deliver everything, within `patience` seconds; return whether nothing is left."""

    def say_what_is_left(self) -> None:
        """Log how many were never acknowledged."""


_owed: dict[Pending, None] = {}
"""Outboxes with pending invalidations, the oldest first: nothing else refers to those of a dropped cache."""


def owe(pending: Pending) -> None:
    """Deliver at the interpreter's end what pends then."""
    _owed[pending] = None


def release(pending: Pending) -> None:
    """Forget `pending`: nothing pends in it, or the log has said what was not delivered."""
    _owed.pop(pending, None)


def give_up_oldest() -> None:
    """Release the oldest outboxes whose event loops have ended, beyond a number; the log says what was not delivered.

    A program that makes a cache for each job while its store is away must not keep them all.
    """
    if len(_owed) <= _MOST_DROPPED:
        return
    ended = [pending for pending in list(_owed) if all(loop.is_closed() for loop in list(pending.loops))]
    for pending in ended[: max(0, len(ended) - _MOST_DROPPED)]:
        release(pending)
        pending.say_what_is_left()


def _owing() -> list[Pending]:
    return [pending for pending in list(_owed) if len(pending)]


def _deliver() -> None:
    """Try once more: on a loop that runs in another thread, else on one made for it."""
    homeless: list[Pending] = []
    under_way: list[tuple[concurrent.futures.Future[bool], float]] = []
    for pending in _owing():
        running = next((loop for loop in pending.loops if loop.is_running()), None)
        if running is None:
            homeless.append(pending)
        else:
            attempt = asyncio.run_coroutine_threadsafe(pending.last_attempts(), running)
            under_way.append((attempt, pending.patience + _PATIENCE))
    if homeless:

        async def together() -> None:
            await asyncio.gather(*(pending.last_attempts() for pending in homeless), return_exceptions=True)

        try:
            asyncio.run(together())
        except Exception as error:  # noqa: BLE001 - the program ends; the log says how many invalidations are left
            logger.debug("the last attempt to deliver invalidations failed: %s", type(error).__name__)
    for attempt, seconds in under_way:
        try:
            attempt.result(seconds)
        except Exception as error:  # noqa: BLE001 - as above
            logger.debug("the last attempt to deliver invalidations failed: %s", type(error).__name__)


def _say() -> None:
    for pending in _owing():
        pending.say_what_is_left()


# `atexit` is too late for threads, and is used only without `threading._register_atexit`. The last registered comes
# first: before the executors, which are registered as their module is imported.
_before_threads_end: Callable[[Callable[[], None]], object] = getattr(threading, "_register_atexit", atexit.register)
_before_threads_end(_deliver)
atexit.register(_say)
