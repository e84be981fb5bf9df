"""The feed: changed keys, read from the change log whenever another connection has committed.

One thread per process polls every `feed_interval` seconds, for any number of caches. `PRAGMA data_version` shows in a
few microseconds whether anything was committed. The feed's connection sees a write of this backend as another
connection's, so the feed sends it too.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Final

from cachecore.contract import Alive, BackendError, Changed, Clock, FeedEvent, Lost, monotonic
from cachecore_sqlite.file import schema
from cachecore_sqlite.file.database import Database
from cachecore_sqlite.file.errors import StoreError, WalDeleted, is_busy
from cachecore_sqlite.options import MEMORY
from cachecore_sqlite.threads.jobs import Job
from cachecore_sqlite.threads.worker import Worker

_EVENTS: Final = 10_000
_LAST: Final = "SELECT max(seq) FROM changes"
_SINCE: Final = "SELECT seq, keys FROM changes WHERE seq >= ? ORDER BY seq"


class Listener:
    """One running `feed` iteration, on its event loop."""

    def __init__(self, prefix: str, loop: asyncio.AbstractEventLoop) -> None:
        self.prefix = prefix
        self._events: deque[FeedEvent | None] = deque()
        self._wake: asyncio.Future[None] | None = None
        self.started = False  # guarded by Feed._lock; whether an event has said that changes are being sent
        self._loop = loop

    def send(self, *events: FeedEvent | None) -> bool:
        """Queue `events`, from any thread; return False if the loop is closed. None ends the iteration."""
        try:
            self._loop.call_soon_threadsafe(self._put, events)
        except RuntimeError:
            return False  # the loop was closed during the iteration
        return True

    def _put(self, events: Sequence[FeedEvent | None]) -> None:
        if len(self._events) > _EVENTS:
            # The consumer has stopped reading. `Lost` tells it to drop all copies, and bounds the memory.
            self._events.clear()
            self._events.append(Lost())
        self._events.extend(events)
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def event(self) -> FeedEvent | None:
        """Return the next event, None at the end of the iteration. One task at a time may wait."""
        while not self._events:
            self._wake = self._loop.create_future()
            await self._wake  # no `asyncio.Queue`: its `get` fails where it is collected with a dropped loop
        return self._events.popleft()


class Feed(Worker):
    """The thread that polls the change log and sends to the listeners; it sleeps while there are none."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._wakes: SimpleQueue[Job | None] = SimpleQueue()
        super().__init__("feed", database, clock, self._wakes)
        self._lock = threading.Lock()
        self._listeners: weakref.WeakSet[Listener] = weakref.WeakSet()  # guarded by _lock; each refers to its loop
        self._version: int | None = None  # the connection's data_version at the last read; None: read now
        self._position: tuple[str, int] | None = None  # the database and the `seq` sent last; None: start at the newest
        self._identity = ""  # of the database that is open
        self._next_beat = 0.0

    def subscribe(self, prefix: str) -> Listener:
        """Start to send changes below `prefix` to the running loop."""
        listener = Listener(prefix, asyncio.get_running_loop())
        with self._lock:
            self._listeners.add(listener)
        self._wakes.put(Job("feed", None, 0.0))  # wakes the thread
        return listener

    def unsubscribe(self, listener: Listener) -> None:
        """Stop sending."""
        with self._lock:
            self._listeners.discard(listener)

    def send_changes(self, keys: Sequence[str]) -> None:
        """Send a change of `keys` to the listeners."""
        unique = tuple(dict.fromkeys(keys))
        self._send(lambda listener: _matching(unique, listener))

    def close(self) -> None:
        """Close the connection.

        The next one reads the log first, because its data_version is not comparable to this one's.
        """
        super().close()
        self._version = None

    def _run(self) -> None:
        options = self.database.options
        pause: float | None = None
        while True:
            try:
                if self._wakes.get(timeout=pause) is None:
                    break
            except Empty:
                pass
            if not self._listeners:
                self._position = self._version = pause = None  # without listeners no change can be missed
                continue
            with self.at_work:
                pause = options.feed_interval if self._poll() else options.heartbeat
        with self.at_work:
            self.close()
        self._send(lambda _: (Lost(), None))

    def _poll(self) -> bool:
        """Send new changes and, when it is due, a heartbeat; return whether the store could be read."""
        sent_at = monotonic()
        try:
            # In memory the writer sends its changes after each commit.
            missed = self.database.path != MEMORY and self._read_changes(self.connection())
        except (*StoreError, BackendError) as error:
            if is_busy(error):
                return True  # no heartbeat; a missing one tells the caches that changes may be late
            if isinstance(error, WalDeleted):
                self.fail([], error)  # perhaps only this connection knew the WAL; other damage is found by a reader
            self.close()
            self._position = None
            self._send_lost()
            return False
        if missed:
            self._send_lost()
        beat = sent_at >= self._next_beat
        if beat:
            self._next_beat = sent_at + self.database.options.heartbeat
        self._send(lambda listener: (Alive(sent_at),) if listener.started is False or beat else (), starting=True)
        return True

    def _read_changes(self, connection: sqlite3.Connection) -> bool:
        """Send the changes since the last read; return whether some may have been missed."""
        (version,) = connection.execute("PRAGMA data_version").fetchone()
        if version == self._version:
            return False
        if self._version is None:
            self._identity = schema.identity(connection)
        self._version = version
        rows: list[tuple[int, str]] = []
        if self._position is not None and self._position[0] == self._identity:
            rows = connection.execute(_SINCE, (self._position[1],)).fetchall()
            if rows and rows[0][0] != self._position[1]:
                rows = []  # the change log no longer holds the row sent last
        if not rows:
            missed = self._position is not None
            (newest,) = connection.execute(_LAST).fetchone()
            self._position = self._identity, newest
            return missed
        self._position = self._identity, rows[-1][0]
        if len(rows) > 1:
            self.send_changes([key for _, keys in rows[1:] for key in keys.split("\n")])
        return False

    def _send_lost(self) -> None:
        with self._lock:
            started = [listener for listener in self._listeners if listener.started]
            for listener in started:
                listener.started = False
                listener.send(Lost())

    def _send(self, events_for: Callable[[Listener], tuple[FeedEvent | None, ...]], *, starting: bool = False) -> None:
        with self._lock:
            closed = []
            for listener in self._listeners:
                events = events_for(listener)
                listener.started |= starting
                if events and not listener.send(*events):
                    closed.append(listener)
            self._listeners.difference_update(closed)

    def work(self, waiting: deque[Job]) -> None:
        """Do nothing: the feed has no jobs to answer."""
        waiting.clear()


def _matching(keys: Sequence[str], listener: Listener) -> tuple[FeedEvent, ...]:
    matching = tuple(key for key in keys if key.startswith(listener.prefix))
    return (Changed(matching),) if matching else ()
