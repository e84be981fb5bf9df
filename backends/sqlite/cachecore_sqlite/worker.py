"""The threads that talk to SQLite: callers leave jobs, threads take all that wait, and answer each loop once.

A read takes one hop to a thread and one back. The thread that wakes takes every job that is waiting, so under load many
callers share one statement, one transaction and one wake-up of their loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
import time
from abc import abstractmethod
from collections import deque
from collections.abc import Iterable
from queue import Empty
from typing import Any, Final, Protocol

from cachecore.contract.clock import Clock
from cachecore.contract.errors import BackendError
from cachecore_sqlite.file.database import Database
from cachecore_sqlite.file.errors import FileRefused, StoreError, is_damage, leaves_doubt, translated
from cachecore_sqlite.file.open_files import Files
from cachecore_sqlite.table.transaction import Asked

PAUSES: Final = (0.0001, 0.0002, 0.0004, 0.0008, 0.0016)
"""Seconds between attempts to get a lock; the last one is repeated."""


class Job:
    """One caller's request and the future it waits for; `loop` None means that nobody waits."""

    __slots__ = ("arguments", "ask", "asked", "error", "future", "limit", "loop", "operation", "result")

    def __init__(self, operation: str, ask: Any, timeout: float, arguments: tuple[Any, ...] = ()) -> None:
        self.operation = operation
        self.ask = ask
        self.arguments = arguments
        self.asked: Asked | None = None  # what a swap compares
        self.limit = time.monotonic() + timeout
        self.loop: asyncio.AbstractEventLoop | None = None
        self.future: asyncio.Future[Any] | None = None
        self.result: Any = None
        self.error: BackendError | Exception | None = None


def _settle(jobs: list[Job]) -> None:
    for job in jobs:
        future = job.future
        if future is None or future.done():
            continue  # cancelled
        if job.error is None:
            future.set_result(job.result)
        else:
            future.set_exception(job.error)


def answer(jobs: Iterable[Job]) -> None:
    """Hand the results to the loops that wait for them; one wake-up per loop."""
    loops: dict[asyncio.AbstractEventLoop, list[Job]] = {}
    for job in jobs:
        if job.loop in loops:
            loops[job.loop].append(job)
        elif job.loop is not None:
            loops[job.loop] = [job]
    for loop, theirs in loops.items():
        with contextlib.suppress(RuntimeError):  # the loop was closed; its callers are gone
            loop.call_soon_threadsafe(_settle, theirs)


def fail(jobs: Iterable[Job], cause: Exception) -> None:
    """Give each job an error of its own, chained to what SQLite said."""
    for job in jobs:
        if isinstance(cause, StoreError):
            job.error = translated(job.operation, cause)
            job.error.__cause__ = cause
        elif isinstance(cause, FileRefused):
            job.error = FileRefused(job.operation, cause.path, cause.reason)
        else:
            job.error = cause


class Jobs(Protocol):
    """Where jobs wait for a thread; None ends one."""

    def put(self, item: Job | None, /) -> None:
        """Add a job, from any thread; never waits."""

    def get(self) -> Job | None:
        """Take the first job; wait until there is one."""

    def get_nowait(self) -> Job | None:
        """Take the first job. Raises `queue.Empty` if there is none."""


class Worker:
    """A thread with one connection, opened when the first job comes."""

    batch_jobs = 256
    """How many jobs are looked at together."""
    cache_kib: int | None = None
    """Memory for pages of the file; None: SQLite's own 2 MiB."""

    def __init__(self, name: str, database: Database, clock: Clock, jobs: Jobs) -> None:
        self.database = database
        self.clock = clock
        self.jobs = jobs
        self.at_work = threading.Lock()  # held while SQLite is called
        self._connection: sqlite3.Connection | None = None  # guarded by at_work
        self._files: Files | None = None  # what it is to, unless that is in memory
        self._waiting: deque[Job] = deque()
        self._thread = threading.Thread(target=self._run, name=f"cachecore-sqlite-{name}", daemon=True)

    def start(self) -> None:
        """Begin to take jobs."""
        self._thread.start()

    def join(self, timeout: float) -> None:
        """Wait for the thread to end; it ends at a None in its queue."""
        if threading.current_thread() is not self._thread:  # a collection in it may end the backend it works for
            self._thread.join(timeout)

    def close(self) -> None:
        """Close the connection; the caller holds `at_work`."""
        connection, files = self._connection, self._files
        self._connection = self._files = None
        if connection is not None:
            self.database.disconnect(connection, files)

    def connection(self) -> sqlite3.Connection:
        """Return the connection to the file that is at the path now."""
        if self._files is not None and not self.database.is_current(self._files):
            self.close()
        if self._connection is None:
            self._connection, self._files = self.database.connect()
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
                self._waiting.append(job)
            while len(self._waiting) < self.batch_jobs:
                try:
                    job = self.jobs.get_nowait()
                except Empty:
                    break
                if job is None:
                    ending = True
                    break
                self._waiting.append(job)
            with self.at_work:
                self.work(self._waiting)
        with self.at_work:
            self.end()

    def end(self) -> None:
        """Close the connection for the last time."""
        self.close()

    @abstractmethod
    def work(self, waiting: deque[Job]) -> None:
        """Take at least one job from `waiting` and answer those taken."""

    def failed(self, jobs: Iterable[Job], cause: Exception) -> None:
        """Answer `jobs` with `cause`; leave a damaged or replaced file behind."""
        if is_damage(cause):
            files = self._files
            self.close()
            try:
                self.database.move_aside(files, str(cause))
            except StoreError as error:
                cause.add_note(f"it could not be moved aside: {error}")
        elif leaves_doubt(cause):
            self.close()
            self.database.doubt()
        fail(jobs, cause)
        answer(jobs)
