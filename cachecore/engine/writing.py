"""Common to every explicit write: it is carried out whole, and this process forgets its own copies.

A write begins by making this process forget its own copies and ends by doing so again, because a read that began in
between may have seen either state. What the store did not acknowledge becomes pending.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Sequence
from typing import Any, Final, Self, TypeVar

from cachecore.contract.errors import BackendError, InvalidationPending
from cachecore.contract.protocols import CacheBackend
from cachecore.encoding.claim import CLAIM_BYTES
from cachecore.encoding.entry import TOMBSTONE_BYTES, is_mark
from cachecore.engine.flights.loop_state import LoopState
from cachecore.engine.scope import Scope
from cachecore.engine.store_observer import BREAKER_OPEN
from cachecore.invalidation.outbox.sender import FULL
from cachecore.invalidation.tickets import Ticket

T = TypeVar("T")

_AS_LONG: Final = (TOMBSTONE_BYTES, CLAIM_BYTES)


async def carried(state: LoopState, write: Coroutine[Any, Any, T]) -> T:
    """Return the result of `write`; if the caller is cancelled, the write ends by itself.

    A write that is given up half-way would land unnoticed, and leave copies in memory older than it.
    """
    if not state.waits:
        return await write  # ends within this very turn, so that no cancellation can come between
    task = state.loop.create_task(write)
    state.tasks.add(task)
    task.add_done_callback(state.tasks.discard)
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        task.add_done_callback(_retrieve)
        raise
    return task.result()


class Writing:
    """The ticket of a write, with this process's own copies forgotten before and after."""

    def __init__(self, scope: Scope, keys: Collection[str]) -> None:
        self._engine = scope.engine
        self._keys = keys
        self.ticket: Ticket

    def __enter__(self) -> Self:
        feed = self._engine.feed_state
        self.ticket = feed.tickets.open_write(self._keys, epoch=feed.epoch, asked_at=self._engine.monotonic())
        self._engine.forget_entries(self._keys)
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.feed_state.tickets.close_write(self.ticket)
        self._engine.forget_entries(self._keys)  # a read that began in between may have seen the old value


async def leave_pending(scope: Scope, keys: Sequence[str], error: BackendError) -> None:
    """Treat the keys as deleted until the store has acknowledged it: `error` kept the write from being carried out."""
    pending = scope.engine.outbox
    pending.add_entries(keys, scope.parents())
    await pending.saved()
    if error.reason == FULL:
        await pending.empty(keys)


def unacknowledged(scope: Scope, operation: str, error: BackendError) -> InvalidationPending:
    """Return the error for the caller of a write that `error` kept from being carried out."""
    cause, last = error.reason, scope.engine.observer.last_reason
    if cause == BREAKER_OPEN and last is not None:
        cause = f"{last}, breaker open"
    return InvalidationPending(operation, transient=error.transient, cause=cause)


async def marked(backend: CacheBackend, keys: Sequence[str], sizes: Sequence[int]) -> set[str]:
    """Return the keys that hold no answer; `sizes` are the lengths of their values. Raises BackendError.

    A value as long as a mark is read: it may be a small entry.
    """
    doubtful = [key for key, size in zip(keys, sizes, strict=True) if size in _AS_LONG]
    values = await backend.get_many(doubtful) if doubtful else []
    return {key for key, value in zip(doubtful, values, strict=True) if value is None or is_mark(value, key)}


def _retrieve(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()  # marks it as retrieved: the failure was counted or is pending
