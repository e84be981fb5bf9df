"""A thread with one SQLite connection: it takes all jobs that wait and answers each event loop once.

A read takes one hop to a thread and one back. Under load many callers share one statement, one transaction and one
wake-up of their loop.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from abc import abstractmethod
from collections import deque
from collections.abc import Iterable
from queue import Empty

from cachecore.contract import Clock
from cachecore_sqlite.file.database import Database
from cachecore_sqlite.file.errors import StoreError, is_damage, needs_reconnect
from cachecore_sqlite.file.open_files import Files
from cachecore_sqlite.threads.jobs import Job, JobQueue, answer, begun, set_errors


class Worker:
    """A thread with one connection, opened for the first job."""

    batch_jobs = 256
    """Largest number of jobs taken at once."""
    cache_kib: int | None = None
    """KiB of memory for pages of the file; None means SQLite's default of 2 MiB."""

    writes = False
    """Whether it writes, and creates a folder that was removed while the backend was in use."""

    def __init__(self, name: str, database: Database, clock: Clock, jobs: JobQueue) -> None:
        self.database = database
        self.clock = clock
        self.jobs = jobs
        self.at_work = threading.Lock()  # held while the thread calls SQLite
        self.opening = False
        """Whether it opens its connection now. Read by other threads, as is the next."""
        self.failed = False
        """Whether the last attempt to open it failed."""
        self.opened_at: float | None = None
        """Monotonic second at which it opened its connection last; None: never, or the last attempt failed."""
        self._connection: sqlite3.Connection | None = None  # guarded by at_work
        self._files: Files | None = None  # the files of the connection; None in memory
        self._waiting: deque[Job] = deque()
        self._thread = threading.Thread(target=self._run, name=f"cachecore-sqlite-{name}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def join(self, timeout: float) -> None:
        """Wait up to `timeout` seconds for the thread to end; it ends at a None in its queue."""
        if threading.current_thread() is not self._thread:  # garbage collection may run the finalizer in this thread
            self._thread.join(timeout)

    def close(self) -> None:
        """Close the connection; the caller holds `at_work`."""
        connection, files = self._connection, self._files
        self._connection = self._files = None
        if connection is not None:
            self.database.disconnect(connection, files)

    def connection(self) -> sqlite3.Connection:
        """Return a connection to the file that is at the path now."""
        if self._files is not None and not self.database.is_current(self._files):
            self.close()
        if self._connection is None:
            self.opening = True
            try:
                self._connection, self._files = self.database.connect(writes=self.writes)
                self.opened_at = time.monotonic()
            except BaseException:
                self.opened_at = None
                self.failed = True
                raise
            finally:
                self.opening = False
            self.failed = False
            if self.cache_kib is not None:
                self._connection.execute(f"PRAGMA cache_size = -{self.cache_kib}")
        return self._connection

    def _run(self) -> None:
        ending = False
        while not ending or self._waiting:
            if not self._waiting:
                job = self.jobs.get()
                if job is None:
                    break
                self._waiting.append(begun(job))
            while len(self._waiting) < self.batch_jobs:
                try:
                    job = self.jobs.get_nowait()
                except Empty:
                    break
                if job is None:
                    ending = True
                    break
                self._waiting.append(begun(job))
            with self.at_work:
                self.work(self._waiting)
            job = None  # it refers to its loop, which may be dropped while this thread waits
        with self.at_work:
            self.end()

    def end(self) -> None:
        """Close the connection when the thread ends."""
        self.close()

    @abstractmethod
    def work(self, waiting: deque[Job]) -> None:
        """Take at least one job from `waiting` and answer each job taken."""

    def fail(self, jobs: Iterable[Job], cause: Exception) -> None:
        """Answer `jobs` with `cause`. A damaged file is moved aside; a doubtful connection is closed."""
        if is_damage(cause):
            files = self._files
            self.close()
            try:
                self.database.move_aside(files, str(cause))
            except StoreError as error:
                cause.add_note(f"it could not be moved aside: {error}")
        elif needs_reconnect(cause):
            self.close()
            self.database.recheck()
        set_errors(jobs, cause)
        answer(jobs)
