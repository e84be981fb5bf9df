"""Reads in the thread of the caller: most reads find their pages in memory, and two hops cost more than they do.

The connections are opened and closed by the reading threads alone, since both may take milliseconds; a caller takes one
that is idle, and one caller at a time has it. In any doubt the read goes to the reading threads, which wait for locks,
repair rows and reopen files: when no connection is idle, for many keys or a large value, for a row that is damaged, and
for any error. A read that waited for the disk, an error and a damaged row send the reads of the next second there, too.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from cachecore.contract import BackendError, Clock
from cachecore_sqlite.file import open_files
from cachecore_sqlite.file.database import Database
from cachecore_sqlite.file.errors import Moved, StoreError
from cachecore_sqlite.file.locality import is_local
from cachecore_sqlite.file.open_files import Files
from cachecore_sqlite.table import rows

try:
    from resource import RUSAGE_THREAD, getrusage
except ImportError:  # only Linux counts what a thread reads from disks
    getrusage = None  # type: ignore[assignment]

MOST_KEYS: Final = 128
"""Keys of one read: those of 64 tasks and their stamps, some hundred microseconds."""
SLOW_SECONDS: Final = 0.002
REST_SECONDS: Final = 1.0
T = TypeVar("T")
_CONNECTIONS: Final = 4
"""Largest number of connections, each with up to 2 MiB of pages in memory."""


class _Connection:
    """One connection. `at_work` is held while it is used, by a caller, a reading thread or a fork."""

    __slots__ = ("at_work", "connection", "files")

    def __init__(self, connection: sqlite3.Connection, files: Files) -> None:
        # Reentrant: a signal handler that forks in the midst of a read closes the connection of that read.
        self.at_work = threading.RLock()
        self.connection: sqlite3.Connection | None = connection
        self.files = files


class DirectReads:
    """The connections of one backend for reads in the threads of its callers. Safe to use from several threads."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._time = clock.time
        self._idle: deque[_Connection] = deque()  # the one used last is taken first: its pages are in the core's cache
        self._doubtful: deque[_Connection] = deque()  # to be closed
        self._all: set[_Connection] = set()  # added to under _opening
        self._opening = threading.Lock()
        self._paused: list[_Connection] = []  # those held during a fork
        self._wanted = False  # whether a reader found none idle
        self._closed = False
        self._rests_until = 0.0  # seconds of perf_counter
        self._disk = threading.local()  # `reads`: how often this thread had waited for the disk at its last slow read

    def read(self, keys: Sequence[str]) -> list[bytes | None] | None:
        """Return the live values in the order of `keys`; None: ask the reading threads. Never raises."""
        return self._ask(rows.read_few, keys)

    def sizes(self, keys: Sequence[str]) -> list[int] | None:
        """Return the lengths of the live values, 0 where there is none; None: ask the reading threads. Never raises."""
        return self._ask(rows.sizes, keys)

    def _ask(
        self, call: Callable[[sqlite3.Connection, Sequence[str], float], T | None], keys: Sequence[str]
    ) -> T | None:
        began = time.perf_counter()
        if began < self._rests_until or len(keys) > MOST_KEYS:
            return None
        try:
            one = self._idle.pop()
        except IndexError:
            self._wanted = not self._closed
            return None
        try:
            with one.at_work:
                if one.connection is None:
                    return None  # closed by `close` or for a fork
                if not open_files.is_current(self._database.path, one.files):
                    raise Moved(self._database.path)
                answer = call(one.connection, keys, self._time())
        except BaseException as error:
            self._rests_until = time.perf_counter() + REST_SECONDS
            self._doubtful.append(one)
            if isinstance(error, Exception):
                return None  # the reading threads meet it again, and know what to do
            raise
        ended = time.perf_counter()
        if ended - began > SLOW_SECONDS and self._waited_for_disk():
            self._rests_until = ended + REST_SECONDS
        self._idle.append(one)
        return answer

    def _waited_for_disk(self) -> bool:
        """Return whether this thread has read from a disk since its last slow read, or whether this is its first one.

        A read is as slow where the system lets another thread or process run; then a thread would not be faster.
        """
        if getrusage is None:
            return True
        usage = getrusage(RUSAGE_THREAD)
        reads = usage.ru_inblock + usage.ru_majflt
        before: int | None = getattr(self._disk, "reads", None)
        self._disk.reads = reads
        return before is None or reads > before

    def tend(self) -> None:
        """Close connections in doubt, and open one if a caller found none idle. In a reading thread; never raises."""
        while self._doubtful:
            with contextlib.suppress(IndexError):  # another thread was faster
                self._close(self._doubtful.popleft())
        if self._wanted and time.perf_counter() >= self._rests_until:
            with self._opening:
                self._wanted = False
                if not self._closed and len(self._all) < _CONNECTIONS:
                    self._open()
                    if self._closed:  # since the line above
                        self.close(REST_SECONDS)

    def _open(self) -> None:
        try:
            opened = self._database.connect(writes=False) if is_local(self._database.path) else None
        except (*StoreError, BackendError):
            opened = None
        if opened is None or opened[1] is None:
            self._rests_until = time.perf_counter() + REST_SECONDS
            return
        one = _Connection(opened[0], opened[1])
        self._all.add(one)
        self._idle.append(one)

    def _close(self, one: _Connection) -> None:
        with one.at_work:
            connection, one.connection = one.connection, None
            self._all.discard(one)
            if connection is not None:
                self._database.disconnect(connection, one.files)

    def close(self, seconds: float) -> None:
        """Close all connections; later reads go to the reading threads. Waits up to `seconds` for each read."""
        self._closed = True
        for one in list(self._all):
            if one.at_work.acquire(timeout=seconds):
                self._close(one)
                one.at_work.release()

    def before_fork(self, seconds: float) -> None:
        """Close all connections, and let none be used until `after_fork`; wait up to `seconds` for each read.

        No reading thread may be at work.
        """
        self._paused = [one for one in list(self._all) if one.at_work.acquire(timeout=seconds)]
        for one in self._paused:
            self._close(one)

    def after_fork(self) -> None:
        """Continue in the parent, with new connections."""
        self._idle.clear()
        self._doubtful.clear()
        for one in self._paused:
            one.at_work.release()
        self._paused = []
