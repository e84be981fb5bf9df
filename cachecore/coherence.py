"""What keeps the copies in this process's memory right: tickets, the feed, and how long a copy may be trusted.

A read or write under way holds a ticket. Whoever learns that a key changed voids the tickets that cover it, and a
void ticket fills nothing: so a copy is never made from bytes that were already old when they arrived.

With a feed, a copy is trusted until a push says otherwise, and only while the feed has proved, within `max_age`, that
everything before has been delivered. Without one, a copy lives for `max_age`. One loop of the process reads the feed;
when that loop ends, the copies go and the next loop takes over.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import weakref
from collections.abc import Collection, Iterable
from contextvars import Context
from typing import Protocol

from cachecore.clock import Clock
from cachecore.protocols import Alive, Changed, FeedEvent, Flushed, Lost, SupportsFeed

logger = logging.getLogger("cachecore")


class Ticket:
    """One read or write under way, and which of its keys have changed since it began."""

    __slots__ = ("__weakref__", "keys", "void", "writes")

    def __init__(self, keys: Collection[str], *, writes: bool = False) -> None:
        self.keys = keys
        """Covered keys; a read may add to them while it collects."""
        self.writes = writes
        self.void: set[str] | None = None
        """Keys that changed; None while there are none, which is nearly always."""

    def covers(self, key: str) -> bool:
        """Return whether what this ticket learns of `key` may still be kept."""
        return self.void is None or key not in self.void

    def cancel(self, keys: Iterable[str]) -> None:
        """Void the ticket for those of `keys` that it covers."""
        changed = [key for key in keys if key in self.keys]
        if changed:
            self.void = {*changed, *(self.void or ())}  # replaced, not added to: readers take no lock


class Listener(Protocol):
    """Who is told what the feed says."""

    def changed(self, keys: Collection[str]) -> None:
        """Forget these keys, entries and stamps alike."""

    def changed_all(self) -> None:
        """Forget everything."""

    def revived(self) -> None:
        """Take note that the store is there again, and may be another one."""


class Coherence:
    """The tickets and the feed of one cache in one process. Safe to use from several threads."""

    def __init__(self, *, max_age: float, clock: Clock) -> None:
        self.max_age = max_age
        self.trusted_until = -math.inf
        """Monotonic second until which copies made under the feed may be served."""
        self.epoch = 0
        """Counts the times the feed was lost or came back: a copy is made under the feed only within one epoch."""
        self._clock = clock
        self._lock = threading.Lock()
        self._open: weakref.WeakSet[Ticket] = weakref.WeakSet()  # guarded by _lock
        self._feeding: asyncio.Task[None] | None = None  # guarded by _lock
        self._loop: weakref.ref[asyncio.AbstractEventLoop] | None = None  # guarded by _lock

    @property
    def live(self) -> bool:
        """Whether the feed has proved itself within `max_age`."""
        return self._clock.monotonic() < self.trusted_until

    @property
    def tickets(self) -> int:
        """How many reads and writes are under way."""
        return len(self._open)

    def open(self, ticket: Ticket) -> None:
        """Take notice of `ticket` for as long as somebody holds it."""
        with self._lock:
            self._open.add(ticket)

    def open_write(self, key: str) -> Ticket:
        """Return the ticket of a write of `key`; tickets that cover the key are void from now on.

        Two writes of one key at the same time void each other: which of them the store saw last is not known here.
        """
        ticket = Ticket((key,), writes=True)
        with self._lock:
            for other in self._open:
                if key in other.keys:
                    other.cancel((key,))
                    if other.writes:
                        ticket.cancel((key,))
            self._open.add(ticket)
        return ticket

    def close_write(self, ticket: Ticket) -> None:
        """End a write: reads that began while it was under way may have seen either value, so they keep nothing.

        The ticket stays in force until it is let go of: what was written may be kept only if nobody changed it since.
        """
        with self._lock:
            ticket.writes = False
            for other in self._open:
                if other is not ticket:
                    other.cancel(ticket.keys)

    def void(self, keys: Collection[str]) -> None:
        """Void what is under way for these keys."""
        with self._lock:
            for ticket in self._open:
                ticket.cancel(keys)

    def void_all(self) -> None:
        """Void everything under way."""
        with self._lock:
            for ticket in self._open:
                ticket.cancel(list(ticket.keys))

    def attend(self, backend: SupportsFeed, prefix: str, listener: Listener) -> None:
        """See that some living loop reads the feed; call from a running loop. Cheap when one does."""
        if self._attended():
            return
        with self._lock:
            if self._attended():
                return
            loop = asyncio.get_running_loop()
            self._loop = weakref.ref(loop)
            # The feed is nobody's request: it inherits no caller's context and no cancellation.
            reading = self._read(backend, prefix, listener)
            self._feeding = loop.create_task(reading, name="cachecore-feed", context=Context())

    def _attended(self) -> bool:
        task = self._feeding
        if task is None or task.done() or self._loop is None:
            return False
        loop = self._loop()
        return loop is not None and not loop.is_closed()

    async def stop(self) -> None:
        """Stop reading the feed, if this is the loop that does."""
        with self._lock:
            task, loop = self._feeding, self._loop() if self._loop is not None else None
            if task is None or loop is not asyncio.get_running_loop():
                return
            self._feeding = None
        task.cancel()
        await asyncio.wait([task])

    def after_fork(self) -> None:
        """Start anew in a child process: the parent's feed, tickets and lock are not ours."""
        self._lock = threading.Lock()
        self._open = weakref.WeakSet()
        self._feeding = None
        self._loop = None
        self.trusted_until = -math.inf

    async def _read(self, backend: SupportsFeed, prefix: str, listener: Listener) -> None:
        try:
            async for event in backend.feed(prefix):
                self.hear(event, listener)
        except Exception:
            # A feed never raises by contract. One that does ends here, loudly; the copies fall back to `max_age`, and
            # the next read starts the feed again.
            logger.exception(
                "the feed of the store ended with an error; copies in memory are kept shorter until it is back"
            )
        finally:
            self.epoch += 1
            self.trusted_until = -math.inf
            listener.changed_all()

    def hear(self, event: FeedEvent, listener: Listener) -> None:
        """Act on one event of the feed."""
        match event:
            case Alive(sent_at):
                if self.trusted_until == -math.inf:
                    # What is known or under way dates from when the feed could not tell of changes.
                    self.epoch += 1
                    self.void_all()
                    listener.changed_all()
                    listener.revived()
                self.trusted_until = max(self.trusted_until, sent_at + self.max_age)
            case Changed(keys):
                self.void(keys)
                listener.changed(keys)
            case Flushed():
                self.void_all()
                listener.changed_all()
            case Lost():
                self.epoch += 1
                self.trusted_until = -math.inf
                self.void_all()
                listener.changed_all()
