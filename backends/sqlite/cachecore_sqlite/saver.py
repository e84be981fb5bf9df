"""The write-ahead log: what moves it into the file, and how long it may get.

A thread of its own moves most of it while others read and write. Only the end of it, and the moment at which the log
begins anew, need that nobody writes, and the writer sees to those between two transactions.

Readers do not hinder that for ever: whoever begins to read when all of the log is in the file reads the file alone, so
the log can begin anew as soon as those have ended that began before. While SQLite waits for them it keeps writers out,
all of them, so no wait is long. A reader that stays has the log grow up to the bound, and then what would add to it is
refused.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from queue import SimpleQueue
from typing import Final

from cachecore.clock import Clock
from cachecore.errors import BackendError
from cachecore_sqlite.file import Database
from cachecore_sqlite.schema import PAGE_BYTES
from cachecore_sqlite.translate import StoreError, is_busy
from cachecore_sqlite.whose import size_of
from cachecore_sqlite.workers import Job, Worker

_BOUND: Final = 1.3  # of `max_bytes`: the file and its log
_PASSES: Final = 2
_LITTLE: Final = 16  # of the log's length: a part of that size takes about a millisecond
_SHORT_SECONDS: Final = 0.002
LONG_SECONDS: Final = 0.015
"""How long writers of all processes may be kept out at a stretch: less than any of them waits for the lock."""


class Saver(Worker):
    """The thread that moves the log into the file beside the writer, and so never all of it."""

    def __init__(self, database: Database, clock: Clock) -> None:
        super().__init__("saver", database, clock, SimpleQueue())
        self.nearly = False
        """Whether little is left to move; whoever uses that sets it back."""
        self._woken = False

    def wake(self) -> None:
        """Begin to move the log into the file, unless that is going on."""
        if not self._woken:
            self._woken = True
            self.jobs.put(Job("checkpoint", None, 0.0))

    def work(self, waiting: deque[Job]) -> None:
        """Move what there is, then what was written meanwhile, which is less each time."""
        waiting.clear()
        little = self.database.log_bytes // _LITTLE // PAGE_BYTES
        before = 0
        try:
            connection = self.connection()
            for _ in range(_PASSES):
                busy, frames, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                if busy or frames - before <= little:
                    break
                before = frames
            self.nearly = True
        except (*StoreError, BackendError) as error:
            # Nothing acknowledged is lost: the log holds it. The writer meets the fault, if it stays.
            if not (isinstance(error, sqlite3.Error) and is_busy(error)):
                self.close()
        self._woken = False


class Log:
    """How long the log is, as the writer sees it, and when it has to begin anew."""

    def __init__(self, database: Database, saver: Saver) -> None:
        self._database = database
        self._saver = saver
        self._written = 0  # bytes written to the log since it began, about
        self._wake_at = database.log_bytes // 2
        self._begin_at = 0
        self._size = 0  # on disk, when it was looked at

    def look(self) -> None:
        """See how long it is, within a transaction that has begun: other processes write to it, too."""
        self._size = size_of(self._database.path + "-wal")

    @property
    def is_long(self) -> bool:
        """Whether it was longer than it should be when it was looked at."""
        return self._size > self._database.log_bytes * 3 // 2

    def room(self, connection: sqlite3.Connection) -> int:
        """Return how many bytes may still be written to it, within that transaction."""
        pages: int = connection.execute("PRAGMA page_count").fetchone()[0]
        file_bytes = max(pages * PAGE_BYTES, size_of(self._database.path))
        return int(_BOUND * self._database.options.max_bytes) - file_bytes - self._size

    def wrote(self, connection: sqlite3.Connection, size: int) -> None:
        """See to the log after a transaction that took about `size` bytes of it, outside of one."""
        self._written += size
        if self._written >= self._wake_at:
            self._wake_at = self._written + self._database.log_bytes // 2
            self._saver.wake()
        if not (self._saver.nearly or self.is_long) or self._written < self._begin_at:
            return
        self._saver.nearly = False
        # The longer it is, the more a wait is worth.
        wait = min(LONG_SECONDS, _SHORT_SECONDS * max(1, self._size // self._database.log_bytes))
        if not self.begin_anew(connection, wait):
            self._begin_at = self._written + self._database.log_bytes // _LITTLE

    def begin_anew(self, connection: sqlite3.Connection, wait: float = 0.0) -> bool:
        """Move the rest into the file and write the log from its beginning; tell whether that was possible.

        Writers are kept out meanwhile, and for up to `wait` seconds until all have ended that read from the log. Raises
        `sqlite3.Error`.
        """
        # A log that has got long is cut off; to write over what there is costs less than to make a file longer.
        mode = "TRUNCATE" if self.is_long else "RESTART"
        connection.execute(f"PRAGMA busy_timeout = {round(wait * 1000)}")
        try:
            (busy, *_) = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
        finally:
            connection.execute("PRAGMA busy_timeout = 0")
        if busy:
            return False
        self._written = self._begin_at = 0
        self._wake_at = self._database.log_bytes // 2
        return True
