"""The threads of one backend in this process: started by the first call, stopped at the end, new after a fork."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any, Final

from cachecore.contract.clock import Clock
from cachecore.contract.errors import BackendUnavailable
from cachecore.contract.futures import InlineFuture
from cachecore_sqlite.file.database import Database
from cachecore_sqlite.options import MEMORY, SQLiteOptions
from cachecore_sqlite.space.checkpoint import Saver
from cachecore_sqlite.table import rows
from cachecore_sqlite.table.transaction import Asked, Transaction
from cachecore_sqlite.threads import forks
from cachecore_sqlite.threads.feed import Feed, Listener
from cachecore_sqlite.threads.queue import SharedQueue
from cachecore_sqlite.threads.reader import Reader
from cachecore_sqlite.threads.writer import Writer
from cachecore_sqlite.worker import Job, Jobs, Worker

_FORK_SECONDS: Final = 5.0

_carried_across: list[Worker] = []

WriteAsk = Callable[..., Any]
ReadAsk = Callable[[sqlite3.Connection, float], Any]


class Engine:
    """Queues and threads. Every method but `stop` returns at once, with a future where a thread has to answer."""

    def __init__(self, path: str, options: SQLiteOptions, clock: Clock) -> None:
        self._path = path
        self._options = options
        self._clock = clock
        self._closed = False
        self._reset()
        forks.register(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._workers: list[Worker] = []  # guarded by _lock
        self._held: list[Worker] = []  # those that are still, during a fork
        self._database = Database(self._path, self._options)
        self._feed = Feed(self._database, self._clock)
        self._writes: Jobs = SimpleQueue()
        # What is in memory is seen by one connection only, so one thread does both.
        self._reads: Jobs = self._writes if self._path == MEMORY else SharedQueue()

    def read(self, operation: str, keys: Any) -> asyncio.Future[Any]:
        """Ask for the values of `keys`."""
        if self._path == MEMORY:
            return self._asked(self._writes, Job(operation, _get, self._options.timeout, (keys,)))
        return self._asked(self._reads, Job(operation, keys, self._options.timeout))

    def query(self, operation: str, ask: ReadAsk) -> asyncio.Future[Any]:
        """Ask for what `ask(connection, now)` returns in a reading thread."""
        if self._path == MEMORY:
            return self.write(operation, _query, ask)
        return self._asked(self._reads, Job(operation, ask, self._options.timeout))

    def write(self, operation: str, ask: WriteAsk, *arguments: Any, asked: Asked | None = None) -> asyncio.Future[Any]:
        """Ask for what `ask(transaction, *arguments)` returns, once it is committed.

        `asked` is what it will compare.
        """
        job = Job(operation, ask, self._options.timeout, arguments)
        job.asked = asked
        return self._asked(self._writes, job)

    def subscribe(self, prefix: str) -> Listener:
        """Begin to tell changes below `prefix` to the running loop."""
        if not self._workers:
            self._start()
        if self._closed:
            raise _closed("feed")
        return self._feed.subscribe(prefix)

    def unsubscribe(self, listener: Listener) -> None:
        """Stop telling."""
        self._feed.unsubscribe(listener)

    def _asked(self, queue: Jobs, job: Job) -> asyncio.Future[Any]:
        job.loop = loop = asyncio.get_running_loop()
        future: InlineFuture[Any] = InlineFuture(loop=loop)
        job.future = future
        if not self._closed and not self._workers:
            self._start()
        if not self._closed:
            queue.put(job)
        if self._closed:  # since, too: put behind the threads' end, it may be one that nobody comes for
            future.set_exception(_closed(job.operation))
        return future

    async def nothing(self, operation: str, answer: Any) -> Any:
        """Return what a call without keys comes to. Raises BackendUnavailable once the backend is closed."""
        if self._closed:
            raise _closed(operation)
        return answer

    def _start(self) -> None:
        with self._lock:
            if self._closed or self._workers:
                return
            if self._path == MEMORY:
                writer = Writer(self._database, self._clock, self._writes, None, self._feed.changed)
                others: list[Worker] = []
            else:
                saver = Saver(self._database, self._clock)
                repair = partial(_repair, self._writes)
                writer = Writer(self._database, self._clock, self._writes, saver)
                others = [
                    saver,
                    *(
                        Reader(f"reader-{number}", self._database, self._clock, self._reads, repair, saver.check)
                        for number in range(self._options.readers)
                    ),
                ]
            workers = [writer, *others, self._feed]
            for worker in workers:
                worker.start()
            self._workers = workers

    def stop(self, timeout: float) -> None:
        """Finish the jobs that wait, close all connections, end the threads; wait up to `timeout` seconds for it."""
        with self._lock:
            self._closed = True
            workers = self._workers  # and so they stay: a fork waits for what they are about to close
        limit = time.monotonic() + timeout
        # One after the other, the writer last: of connections that close at once each takes another for the last one,
        # and nobody moves the log into the file.
        for group in (workers[1:], workers[:1]):
            for worker in group:
                worker.jobs.put(None)
            for worker in group:
                worker.join(max(0.0, limit - time.monotonic()))

    def before_fork(self) -> None:
        """Let every thread finish its statement, and close all connections."""
        self._lock.acquire()
        self._held = [worker for worker in self._workers if worker.at_work.acquire(timeout=_FORK_SECONDS)]
        for worker in self._held:
            if self._path != MEMORY:
                worker.close()

    def after_fork(self, *, in_child: bool) -> None:
        """Go on with new connections; a child begins with new threads and empty queues too."""
        if in_child:
            # Kept for good: to close a connection that could not be closed in time would touch the parent's files.
            _carried_across.extend(self._workers)
            self._reset()
            return
        for worker in self._held:
            worker.at_work.release()
        self._held = []
        self._lock.release()


def _closed(operation: str) -> BackendUnavailable:
    return BackendUnavailable(operation, transient=False, reason="closed")


def _get(transaction: Transaction, keys: Any) -> list[bytes | None]:
    transaction.flush()
    found = rows.read(transaction.connection, list(dict.fromkeys(keys)), transaction.now)
    return [found.values.get(key) for key in keys]


def _query(transaction: Transaction, ask: ReadAsk) -> Any:
    transaction.flush()
    return ask(transaction.connection, transaction.now)


def _repair(writes: Jobs, keys: list[str]) -> None:
    writes.put(Job("repair", Transaction.repair, 1.0, (keys,)))
