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
from collections.abc import Callable, Iterable
from queue import Empty, SimpleQueue
from typing import Any, Final

from cachecore.clock import Clock
from cachecore.errors import BackendError
from cachecore_sqlite import rows, upkeep
from cachecore_sqlite.file import Database, Inode, inode_of
from cachecore_sqlite.rows import Transaction
from cachecore_sqlite.translate import FileRefused, Moved, concerns_one_call, is_busy, is_damage, translated

_BATCH_JOBS: Final = 256
_TRANSACTION_SECONDS: Final = 0.008
_PAUSES: Final = (0.0001, 0.0002, 0.0004, 0.0008, 0.0016)
_CHECKPOINT_BYTES: Final = 8 * 1024 * 1024


class Job:
    """One caller's request and the future it waits for; `loop` None means that nobody waits."""

    __slots__ = ("ask", "error", "future", "limit", "loop", "operation", "result")

    def __init__(self, operation: str, ask: Any, timeout: float) -> None:
        self.operation = operation
        self.ask = ask
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
        if job.loop is not None:
            loops.setdefault(job.loop, []).append(job)
    for loop, theirs in loops.items():
        with contextlib.suppress(RuntimeError):  # the loop was closed; its callers are gone
            loop.call_soon_threadsafe(_settle, theirs)


def fail(jobs: Iterable[Job], cause: Exception) -> None:
    """Give each job an error of its own, chained to what SQLite said."""
    for job in jobs:
        if isinstance(cause, sqlite3.Error | OSError):
            job.error = translated(job.operation, cause)
            job.error.__cause__ = cause
        elif isinstance(cause, FileRefused):
            job.error = FileRefused(job.operation, cause.path, cause.reason)
        else:
            job.error = cause


class Worker:
    """A thread with one connection, opened when the first job comes."""

    def __init__(self, name: str, database: Database, clock: Clock, jobs: SimpleQueue[Job | None]) -> None:
        self.database = database
        self.clock = clock
        self.jobs = jobs
        self.at_work = threading.Lock()  # held while SQLite is called
        self._connection: sqlite3.Connection | None = None  # guarded by at_work
        self._inode: Inode | None = None
        self._waiting: deque[Job] = deque()
        self._thread = threading.Thread(target=self._run, name=f"cachecore-sqlite-{name}", daemon=True)

    def start(self) -> None:
        """Begin to take jobs."""
        self._thread.start()

    def join(self, timeout: float) -> None:
        """Wait for the thread to end; it ends at a None in its queue."""
        self._thread.join(timeout)

    def close(self) -> None:
        """Close the connection; the caller holds `at_work`."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def connection(self) -> sqlite3.Connection:
        """Return the connection to the file that is at the path now."""
        if self._connection is not None and self._inode is not None and inode_of(self.database.path) != self._inode:
            self.close()
        if self._connection is None:
            self._connection, self._inode = self.database.connect()
        return self._connection

    def _run(self) -> None:
        ending = False
        while not ending or self._waiting:
            if not self._waiting:
                job = self.jobs.get()
                if job is None:
                    break
                self._waiting.append(job)
            while len(self._waiting) < _BATCH_JOBS:
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
        if isinstance(cause, sqlite3.Error) and is_damage(cause):
            self.close()
            try:
                self.database.move_aside()
            except (sqlite3.Error, OSError) as error:
                cause.add_note(f"it could not be moved aside: {error}")
        elif isinstance(cause, sqlite3.Error | OSError) and not (isinstance(cause, sqlite3.Error) and is_busy(cause)):
            self.close()
        fail(jobs, cause)
        answer(jobs)


class Reader(Worker):
    """Reads; several share one queue."""

    def __init__(
        self,
        name: str,
        database: Database,
        clock: Clock,
        jobs: SimpleQueue[Job | None],
        repair: Callable[[list[str]], None],
    ) -> None:
        super().__init__(name, database, clock, jobs)
        self._repair = repair

    def work(self, waiting: deque[Job]) -> None:
        """Answer all that wait; reads of single keys share statements."""
        jobs = list(waiting)
        waiting.clear()
        limit = min(job.limit for job in jobs)
        while True:
            try:
                self._attempt(jobs)
            except Exception as error:  # noqa: BLE001 - every caller is told, and a bug must not end the thread
                if isinstance(error, sqlite3.Error) and is_busy(error) and time.monotonic() < limit:
                    time.sleep(_PAUSES[-1])
                    continue
                self.failed(jobs, error)
            else:
                answer(jobs)
            return

    def _attempt(self, jobs: list[Job]) -> None:
        connection = self.connection()
        reads = [job for job in jobs if job.operation == "get_many"]
        if reads:
            self._read(connection, reads)
        for job in jobs:
            if job.operation != "get_many":
                job.result = job.ask(connection, self.clock.time())

    def _read(self, connection: sqlite3.Connection, jobs: list[Job]) -> None:
        keys = jobs[0].ask if len(jobs) == 1 else [key for job in jobs for key in job.ask]
        found = rows.read(connection, list(dict.fromkeys(keys)), self.clock.time())
        if found.damaged:
            self._repair(found.damaged)
        get = found.values.get
        for job in jobs:
            job.result = [get(key) for key in job.ask]


class Writer(Worker):
    """Writes, in one transaction for all that wait; in memory, reads too."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        jobs: SimpleQueue[Job | None],
        committed: Callable[[list[str]], None] | None = None,
    ) -> None:
        super().__init__("writer", database, clock, jobs)
        self._committed = committed
        self._unsaved = 0  # bytes written to the log since the last checkpoint, about

    def work(self, waiting: deque[Job]) -> None:
        """Run what waits in one transaction, answer, and only then move the log into the file."""
        jobs: list[Job] = []
        try:
            connection = self._begin(waiting)
            if connection is None:
                return
            transaction = Transaction(connection, self.clock.time(), self.database.options.max_bytes)
            until = time.monotonic() + _TRANSACTION_SECONDS
            while waiting:
                jobs.append(waiting.popleft())
                jobs[-1].result = jobs[-1].ask(transaction)
                if time.monotonic() > until:
                    break
            if transaction.changed:
                upkeep.log(transaction)
                upkeep.reclaim(transaction)
            connection.execute("COMMIT")
            if self._inode is not None and inode_of(self.database.path) != self._inode:
                raise Moved(f"{self.database.path} was moved or deleted while it was written to")
        except Exception as error:  # noqa: BLE001 - every caller is told, and a bug must not end the thread
            self._rolled_back(jobs, waiting, error)
            return
        if self._committed is not None and transaction.changed:
            self._committed(transaction.changed)
        answer(jobs)
        self._unsaved += transaction.written + 512 * transaction.rows
        if self._unsaved >= min(_CHECKPOINT_BYTES, self.database.options.max_bytes // 16) and self._inode is not None:
            self._unsaved = 0
            self._checkpoint(connection)

    def end(self) -> None:
        """Close the connection, not at the same time as another process, so that the last one cleans up."""
        with self.database.last_words():
            self.close()

    def _begin(self, waiting: deque[Job]) -> sqlite3.Connection | None:
        """Start a transaction; jobs whose time is up while another process holds the lock are answered with that."""
        pauses = iter(_PAUSES)
        while True:
            try:
                connection = self.connection()
                connection.execute("BEGIN IMMEDIATE")
                return connection
            except (sqlite3.Error, OSError, BackendError) as error:
                late = list(waiting)
                if isinstance(error, sqlite3.Error) and is_busy(error):
                    now = time.monotonic()
                    late = [job for job in waiting if job.limit <= now]
                for job in late:
                    waiting.remove(job)
                if late:
                    self.failed(late, error)
                if not waiting:
                    return None
            time.sleep(next(pauses, _PAUSES[-1]))

    def _rolled_back(self, jobs: list[Job], waiting: deque[Job], error: Exception) -> None:
        connection = self._connection
        if connection is not None and connection.in_transaction:
            try:
                connection.execute("ROLLBACK")
            except sqlite3.Error:
                self.close()
        if concerns_one_call(error) and not isinstance(error, OSError) and len(jobs) > 1:
            # The last one begun is the one that failed; the others go again without it.
            bad = jobs.pop()
            waiting.extendleft(reversed(jobs))
            jobs = [bad]
        self.failed(jobs, error)

    def _checkpoint(self, connection: sqlite3.Connection) -> None:
        try:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error as error:
            # Nothing acknowledged is lost: the log holds it. The next transaction meets the fault, if it stays.
            if not is_busy(error):
                self.close()
