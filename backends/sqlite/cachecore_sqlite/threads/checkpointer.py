"""The thread that checkpoints the WAL in the background, and checks the index of the entries once after opening."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import deque
from queue import SimpleQueue
from typing import Final

from cachecore.contract import BackendError, Clock
from cachecore_sqlite.file import schema
from cachecore_sqlite.file.database import Database
from cachecore_sqlite.file.errors import StoreError, is_busy
from cachecore_sqlite.threads.jobs import Job
from cachecore_sqlite.threads.worker import Worker

_PASSES: Final = 3
_SMALL_PASS_PAGES: Final = 512
_QUICK_SECONDS: Final = 0.008


class Checkpointer(Worker):
    """The background thread of `space.checkpoint.BackgroundCheckpoint`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        super().__init__("checkpointer", database, clock, SimpleQueue())
        self.idle = threading.Event()
        self.idle.set()
        self.pages: int | None = None
        self.is_complete = False

    def check(self) -> None:
        """Start the check of the file, once after each opening. Call it when no caller waits for the file to open."""
        if self.database.is_unchecked:
            self.database.is_unchecked = False
            self.jobs.put(Job("check", None, 0.0))

    def wake(self) -> None:
        """Start a checkpoint unless one runs."""
        if self.idle.is_set():
            self.idle.clear()
            self.jobs.put(Job("checkpoint", None, 0.0))

    def work(self, waiting: deque[Job]) -> None:
        """Check the file or checkpoint the WAL, or both; the jobs have no callers."""
        checks = any(job.operation == "check" for job in waiting)
        checkpoints = any(job.operation != "check" for job in waiting)
        waiting.clear()
        if checks:
            self._check()
        if checkpoints:
            self._checkpoint()

    def _check(self) -> None:
        try:
            schema.check(self.connection())
        except (*StoreError, BackendError) as error:
            self.fail([], error)

    def _checkpoint(self) -> None:
        """Checkpoint in passes; each one copies the pages written during the pass before, which are fewer each time."""
        self.is_complete = False
        before = 0
        try:
            connection = self.connection()
            for passes in range(1, _PASSES + 1):
                started = time.monotonic()
                busy, pages, copied = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                if busy:
                    break  # another process runs a checkpoint
                self.is_complete = copied == pages
                # Another pass gains nothing if a reader blocks the rest or the rest is small. A slow pass means that
                # the disk is too busy for the writer to wait for it.
                is_small = not self.is_complete or pages - before <= _SMALL_PASS_PAGES
                if passes == _PASSES or (is_small and time.monotonic() - started < _QUICK_SECONDS):
                    self.pages = pages
                    break
                before = pages
        except (*StoreError, BackendError) as error:
            # No acknowledged write is lost: the WAL holds it. A lasting fault is met and reported by the writer.
            if not (isinstance(error, sqlite3.Error) and is_busy(error)):
                self.close()
        finally:
            self.idle.set()
