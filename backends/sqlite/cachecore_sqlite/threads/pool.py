"""The threads of one backend in this process: started by the first call, stopped on close, replaced after a fork."""

from __future__ import annotations

import asyncio
import math
import sqlite3
import threading
import time
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any, Final

from cachecore.contract import BackendUnavailable, Clock, InlineFuture, Link
from cachecore_sqlite.file.database import Database
from cachecore_sqlite.options import MEMORY, SQLiteOptions
from cachecore_sqlite.table import rows
from cachecore_sqlite.table.transaction import Expected, Transaction
from cachecore_sqlite.threads import forks
from cachecore_sqlite.threads.checkpointer import Checkpointer
from cachecore_sqlite.threads.direct import DirectReads
from cachecore_sqlite.threads.feed import Feed, Listener
from cachecore_sqlite.threads.jobs import Job, JobQueue
from cachecore_sqlite.threads.queue import SharedQueue
from cachecore_sqlite.threads.reader import Reader
from cachecore_sqlite.threads.worker import Worker
from cachecore_sqlite.threads.writer import Writer

_FORK_SECONDS: Final = 5.0
_NOT_OPEN: Final = Link("", -math.inf)

_inherited: list[Worker | DirectReads] = []

WriteCall = Callable[..., Any]
ReadCall = Callable[[sqlite3.Connection, float], Any]


class ThreadPool:
    """Queues and threads. All methods but `stop` return at once; a future stands for the answer of a thread."""

    def __init__(self, path: str, options: SQLiteOptions, clock: Clock) -> None:
        self._path = path
        self._options = options
        self._clock = clock
        self._closed = False
        self._connect_seconds: float | None = None
        self._reset()
        forks.register(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._workers: list[Worker] = []  # guarded by _lock
        self._paused: list[Worker] = []  # the workers paused for a fork
        self._database = Database(self._path, self._options)
        if self._connect_seconds is not None:
            self._database.connect_seconds = self._connect_seconds
        self.direct = DirectReads(self._database, self._clock)
        """Reads in the thread of the caller; none in memory, where one connection reads and writes."""
        self._feed = Feed(self._database, self._clock)
        self._writes: JobQueue = SimpleQueue()
        # A database in memory belongs to one connection, so one thread reads and writes.
        self._reads: JobQueue = self._writes if self._path == MEMORY else SharedQueue()

    def limit_opening(self, seconds: float) -> None:
        """Let opening the file wait for other processes for so long."""
        self._connect_seconds = self._database.connect_seconds = seconds

    def link(self) -> Link | None:
        """Return since when the file is open; None while a thread opens it, unless the last attempt failed."""
        workers = [worker for worker in self._workers if worker is not self._feed]
        if any(worker.failed for worker in workers):
            return _NOT_OPEN
        opened = [worker.opened_at for worker in workers if worker.opened_at is not None]
        if not opened or any(worker.opening for worker in workers):
            return None
        return Link(self._path, max(opened))

    def read(self, operation: str, keys: Any) -> asyncio.Future[Any]:
        """Return a future of the values of `keys`; it is done where they are read in this thread."""
        values = self.direct.read(keys)
        if values is not None:
            return _done(values)
        if self._path == MEMORY:
            return self._submit(self._writes, Job(operation, _get, self._options.timeout, (keys,)))
        return self._submit(self._reads, Job(operation, None, self._options.timeout, (keys,)))

    def sizes(self, keys: list[str]) -> asyncio.Future[list[int]]:
        """Return a future of the lengths of the values of `keys`; it is done where they are read in this thread."""
        lengths = self.direct.sizes(keys)
        if lengths is not None:
            return _done(lengths)
        return self.query("sizes", lambda connection, now: rows.sizes(connection, keys, now))

    def query(self, operation: str, call: ReadCall) -> asyncio.Future[Any]:
        """Return a future of `call(connection, now)` in a reading thread."""
        if self._path == MEMORY:
            return self.write(operation, _query, call)
        return self._submit(self._reads, Job(operation, call, self._options.timeout))

    def write(
        self, operation: str, call: WriteCall, *arguments: Any, expected: Expected | None = None
    ) -> asyncio.Future[Any]:
        """Return a future of `call(transaction, *arguments)`, done once the transaction is committed.

        `expected` is the comparison of a swap, which the writer looks up for many swaps at once.
        """
        job = Job(operation, call, self._options.timeout, arguments)
        job.expected = expected
        return self._submit(self._writes, job)

    def subscribe(self, prefix: str) -> Listener:
        """Start to send changes below `prefix` to the running loop."""
        if not self._workers:
            self._start()
        if self._closed:
            raise _closed("feed")
        return self._feed.subscribe(prefix)

    def unsubscribe(self, listener: Listener) -> None:
        """Stop sending."""
        self._feed.unsubscribe(listener)

    def _submit(self, queue: JobQueue, job: Job) -> asyncio.Future[Any]:
        job.loop = loop = asyncio.get_running_loop()
        future: InlineFuture[Any] = InlineFuture(loop=loop)
        job.future = future
        if not self._closed and not self._workers:
            self._start()
        if not self._closed:
            queue.put(job)
        if self._closed:  # perhaps since the check above: a job behind the end of its queue is never taken
            future.set_exception(_closed(job.operation))
        return future

    async def immediate(self, operation: str, answer: Any) -> Any:
        """Return the answer of a call without keys. Raises BackendUnavailable once the backend is closed."""
        if self._closed:
            raise _closed(operation)
        return answer

    def _start(self) -> None:
        with self._lock:
            if self._closed or self._workers:
                return
            if self._path == MEMORY:
                writer = Writer(self._database, self._clock, self._writes, None, self._feed.send_changes)
                others: list[Worker] = []
            else:
                checkpointer = Checkpointer(self._database, self._clock)
                repair = partial(_repair, self._writes)
                check, tend = checkpointer.check, self.direct.tend
                writer = Writer(self._database, self._clock, self._writes, checkpointer)
                others = [
                    checkpointer,
                    *(
                        Reader(f"reader-{number}", self._database, self._clock, self._reads, repair, check, tend)
                        for number in range(self._options.readers)
                    ),
                ]
            workers = [writer, *others, self._feed]
            for worker in workers:
                worker.start()
            self._workers = workers

    def stop(self, timeout: float) -> None:
        """Finish the jobs that wait, close all connections and end the threads; wait up to `timeout` seconds."""
        with self._lock:
            self._closed = True
            workers = self._workers  # the list is kept: a fork must wait for connections that are being closed
        limit = time.monotonic() + timeout
        # The writer last: connections that close at the same moment take each other for the last one, and none of them
        # checkpoints the WAL.
        for group in (workers[1:], workers[:1]):
            for worker in group:
                worker.jobs.put(None)
            for worker in group:
                worker.join(max(0.0, limit - time.monotonic()))
            self.direct.close(max(0.0, limit - time.monotonic()))

    def before_fork(self) -> None:
        """Wait until each thread has finished its statement, and close all connections."""
        self._lock.acquire()
        self._paused = [worker for worker in self._workers if worker.at_work.acquire(timeout=_FORK_SECONDS)]
        for worker in self._paused:
            if self._path != MEMORY:
                worker.close()
        self.direct.before_fork(_FORK_SECONDS)

    def after_fork(self, *, in_child: bool) -> None:
        """Continue with new connections; the child gets new threads and empty queues."""
        if in_child:
            # Never collected: closing a connection that was still open at the fork would change the parent's files.
            _inherited.extend((*self._workers, self.direct))
            self._reset()
            return
        self.direct.after_fork()
        for worker in self._paused:
            worker.at_work.release()
        self._paused = []
        self._lock.release()


def _done(answer: Any) -> asyncio.Future[Any]:
    future: InlineFuture[Any] = InlineFuture(loop=asyncio.get_running_loop())
    future.set_result(answer)
    return future


def _closed(operation: str) -> BackendUnavailable:
    return BackendUnavailable(operation, transient=False, reason="closed")


def _get(transaction: Transaction, keys: Any) -> list[bytes | None]:
    transaction.flush()
    result = rows.read(transaction.connection, list(dict.fromkeys(keys)), transaction.now)
    return [result.values.get(key) for key in keys]


def _query(transaction: Transaction, call: ReadCall) -> Any:
    transaction.flush()
    return call(transaction.connection, transaction.now)


def _repair(writes: JobQueue, keys: list[str]) -> None:
    writes.put(Job("repair", Transaction.repair, 1.0, (keys,)))
