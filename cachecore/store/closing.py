"""Closing a store within a second, however it and its driver behave."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from cachecore.contract.errors import BackendError
from cachecore.contract.loop_local import in_background
from cachecore.contract.protocols import CacheBackend
from cachecore.store.dispatch import Dispatch, Observer, closed_error

CLOSE_TIMEOUT: Final = 1.0
"""Seconds that closing may take."""
_INSIST: Final = 0.02  # seconds between cancellations of a task that does not end while closing


async def close(calls: Dispatch, backend: CacheBackend, observer: Observer) -> None:
    """Close the backend. Failures are counted, not raised.

    Calls under way may end, calls that wait for a place fail, later ones raise `BackendUnavailable`.
    """
    calls.closed = True
    loop = asyncio.get_running_loop()
    bulkhead = calls.bulkhead(loop)
    bulkhead.drop_waiting(closed_error)
    ends = loop.time() + CLOSE_TIMEOUT
    await ended(bulkhead.tasks(), ends - CLOSE_TIMEOUT / 2)
    closing = in_background(loop.create_task(_close(calls, backend, observer)))
    calls.closing = closing  # the loop alone would not keep it alive
    await ended([closing], ends - CLOSE_TIMEOUT / 10)
    left = [*bulkhead.tasks(), closing]
    while not await ended(left, min(ends, loop.time() + _INSIST)) and loop.time() < ends:
        for task in left:
            task.cancel()  # again and again: some drivers swallow the first


async def _close(calls: Dispatch, backend: CacheBackend, observer: Observer) -> None:
    try:
        await backend.aclose()
    except Exception as error:  # noqa: BLE001 - a driver's bug must not take the caller down; it is logged
        observer.backend_error("aclose", error.reason if isinstance(error, BackendError) else "error")
        calls.report("aclose", error)


async def ended(tasks: Sequence[asyncio.Future[Any]], deadline: float) -> bool:
    """Wait until `tasks` have ended, or until `deadline` (the loop's clock); return whether they have."""
    waiting = [task for task in tasks if not task.done()]
    if waiting:
        _, waiting_still = await asyncio.wait(waiting, timeout=max(0.0, deadline - asyncio.get_running_loop().time()))
        return not waiting_still
    return True
