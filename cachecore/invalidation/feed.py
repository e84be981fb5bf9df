"""The feed of changes, which keeps the copies in this process's memory right, and how long a copy may be trusted.

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
from collections.abc import Collection
from contextvars import Context
from typing import Final, Protocol

from cachecore.contract.clock import Clock
from cachecore.contract.loop_local import LoopLocal, in_background
from cachecore.contract.protocols import Alive, Changed, FeedEvent, Flushed, Lost, SupportsFeed
from cachecore.invalidation.feed_log import FeedLog
from cachecore.invalidation.tickets import Tickets

logger = logging.getLogger("cachecore")

_ENDING: Final = 0.1
"""Seconds for which a loop that has cancelled the feed does not get it again: it is probably about to end."""


class Listener(Protocol):
    """Receives the changes that the feed reports."""

    def changed(self, keys: Collection[str]) -> None:
        """Forget these keys, entries and stamps alike."""

    def changed_all(self) -> None:
        """Forget everything."""

    def alive(self) -> None:
        """Take note of a heartbeat: the feed has proved itself, and everything before it has been told."""

    def revived(self, *, again: bool) -> None:
        """Take note that the store is there; `again`: after it had been lost, so that it may be another one."""


class FeedState:
    """The feed and the tickets of one cache in one process. Safe to use from several threads."""

    def __init__(self, *, max_age: float, clock: Clock, log: FeedLog | None = None) -> None:
        self.max_age = max_age
        self.trusted_until = -math.inf
        """Monotonic second until which copies made under the feed may be served."""
        self.epoch = 0
        """Counts the times the feed was lost or came back: a copy is made under the feed only within one epoch."""
        self.tickets = Tickets()
        """Reads and writes under way, and which of their keys have changed."""
        self._clock = clock
        self._log = log
        self._proved = False
        """Whether the feed has ever proved itself: before that it cannot be lost, whichever event comes first."""
        self._lock = threading.Lock()
        self._readers: LoopLocal[asyncio.Task[None]] = LoopLocal()
        self._feeding: weakref.ref[asyncio.Task[None]] | None = None  # guarded by _lock; a task refers to its loop
        self._loop: weakref.ref[asyncio.AbstractEventLoop] | None = None  # guarded by _lock
        self._dropped = False
        """Whether the loop that read the feed was dropped: all knowledge is then forgotten before the next reading."""
        self._cancelled_at = -math.inf
        """Monotonic second at which code other than `stop` cancelled the reading of the feed."""

    @property
    def live(self) -> bool:
        """Whether the feed has proved itself within `max_age`."""
        return self._clock.monotonic() < self.trusted_until

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop that reads the feed, or did last."""
        return self._loop() if self._loop is not None else None

    def attend(self, backend: SupportsFeed, prefix: str, listener: Listener) -> None:
        """See that some living loop reads the feed; call from a running loop. Cheap when one does."""
        if self._attended():
            return
        with self._lock:
            if self._attended():
                return
            loop = asyncio.get_running_loop()
            ours = self._loop is not None and self._loop() is loop
            if ours and self._clock.monotonic() < self._cancelled_at + _ENDING:
                return  # a loop that ends cancels its tasks once: one that it gets after that stays in the middle
            self._loop = weakref.ref(loop)
            # The feed is nobody's request: it inherits no caller's context and no cancellation.
            reading = self._read(backend, prefix, listener)
            task = in_background(loop.create_task(reading, name="cachecore-feed", context=Context()))
            self._readers.set(loop, task)
            self._feeding = weakref.ref(task)
            if self._log is not None:
                self._log.waiting()
            if self._dropped:
                self._dropped = False
                listener.changed_all()

    def _attended(self) -> bool:
        task = self._feeding() if self._feeding is not None else None
        if task is None or task.done() or self._loop is None:
            return False
        loop = self._loop()
        return loop is not None and not loop.is_closed()

    async def stop(self) -> None:
        """Stop reading the feed, if this is the loop that does."""
        with self._lock:
            task = self._feeding() if self._feeding is not None else None
            loop = self._loop() if self._loop is not None else None
            if task is None or loop is not asyncio.get_running_loop():
                return
            self._feeding = None
            self._loop = None
            self._readers.pop(loop)
            if self._log is not None:
                self._log.stopped()
        task.cancel()
        await asyncio.wait([task])

    def after_fork(self) -> None:
        """Start anew in a child process: the parent's feed, tickets and lock are not ours."""
        self._lock = threading.Lock()
        self.tickets = Tickets()
        self._readers.forget()
        self._feeding = None
        self._loop = None
        self._cancelled_at = -math.inf
        self._proved = False
        self.trusted_until = -math.inf

    async def _read(self, backend: SupportsFeed, prefix: str, listener: Listener) -> None:
        dropped = False
        try:
            async for event in backend.feed(prefix):
                self.hear(event, listener)
        except asyncio.CancelledError:
            self._cancelled_at = self._clock.monotonic()
            raise
        except GeneratorExit:
            dropped = self._dropped = True  # collected with its loop, perhaps while the listener is at work
            raise
        except Exception:
            # A feed never raises by contract. One that does ends here, loudly; the copies fall back to `max_age`, and
            # the next read starts the feed again.
            logger.exception(
                "the feed of the store ended with an error; copies in memory are kept shorter until it is back"
            )
        finally:
            self.epoch += 1
            self.trusted_until = -math.inf
            if not dropped:
                listener.changed_all()

    def hear(self, event: FeedEvent, listener: Listener) -> None:
        """Act on one event of the feed."""
        match event:
            case Alive(sent_at):
                if self.trusted_until == -math.inf:
                    if self._log is not None:
                        self._log.alive()
                    # Known stamps and reads under way date from when the feed could not report changes.
                    self.epoch += 1
                    self.tickets.void_all()
                    listener.changed_all()
                    listener.revived(again=self._proved)
                    self._proved = True
                # Never from the future, as a clock of another kind would have it.
                sent_at = min(sent_at, self._clock.monotonic())
                self.trusted_until = max(self.trusted_until, sent_at + self.max_age)
                listener.alive()
            case Changed(keys):
                self.tickets.void(keys)
                listener.changed(keys)
            case Flushed():
                self.tickets.void_all()
                listener.changed_all()
            case Lost():
                if self.trusted_until > -math.inf and self._log is not None:
                    self._log.waiting()
                self.epoch += 1
                self.trusted_until = -math.inf
                self.tickets.void_all()
                listener.changed_all()
