"""The thread that writes: one transaction for all jobs that wait, acknowledged when it is committed."""

from __future__ import annotations

import sqlite3
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from cachecore.contract import Clock
from cachecore_sqlite.file.database import Database
from cachecore_sqlite.file.errors import Moved, concerns_one_call, is_busy, is_full
from cachecore_sqlite.file.locks import PAUSES
from cachecore_sqlite.space.admission import SpaceAdmission, is_set
from cachecore_sqlite.table import maintenance
from cachecore_sqlite.table.transaction import Transaction
from cachecore_sqlite.threads.checkpointer import Checkpointer
from cachecore_sqlite.threads.jobs import Job, JobQueue, answer
from cachecore_sqlite.threads.worker import Worker

_UPKEEP_ROWS: Final = 16
_UPKEEP_BYTES: Final = 64 * 1024
_CACHE_KIB: Final = 32 * 1024


class Writer(Worker):
    """The writing thread; for a database in memory it also reads."""

    batch_jobs = 1024
    writes = True

    def __init__(
        self,
        database: Database,
        clock: Clock,
        jobs: JobQueue,
        checkpointer: Checkpointer | None,
        committed: Callable[[list[str]], None] | None = None,
    ) -> None:
        super().__init__("writer", database, clock, jobs)
        self._checkpointer = checkpointer
        # None in memory, where there is no WAL and no disk to fill.
        self._admission = None if checkpointer is None else SpaceAdmission(database, checkpointer, self.close)
        self._file_bytes = database.options.max_bytes if self._admission is None else self._admission.file_bytes
        # Keys are digests, so each write reads another page of the index; a cache of pages saves most of these reads.
        self.cache_kib = min(_CACHE_KIB, database.options.max_bytes // 32 // 1024)
        self._committed = committed
        self._singly = 0  # number of jobs that must have a transaction of their own
        self._rows = self._written = 0  # since the last upkeep

    def work(self, waiting: deque[Job]) -> None:
        """Run the jobs of `waiting` in one transaction, answer them, and only then checkpoint the WAL."""
        jobs: list[Job] = []
        self._singly = max(0, self._singly - 1)
        try:
            connection = self._begin(waiting)
            if connection is None:
                return
            most = (self._admission or self.database.options).transaction_bytes
            transaction = Transaction(connection, self.clock.time(), self.database.options.max_bytes)
            if not self._singly:
                transaction.prefetch(job.expected for job in waiting if job.expected is not None)
            while waiting:
                job = waiting.popleft()
                jobs.append(job)
                job.result = job.call(transaction, *job.arguments)
                if self._singly or transaction.cost >= most:
                    break
            transaction.flush()
            if transaction.changed:
                key_bytes, seq = maintenance.log_changes(transaction)
                if self._admission is not None:
                    self._admission.record(transaction, key_bytes, seq)
                if self._admission is None or self._admission.allows_upkeep(transaction):
                    self._keep_up(transaction)
            connection.execute("COMMIT")
            if self._files is not None and not self.database.is_current(self._files):
                raise Moved(f"{self.database.path} was moved or deleted while it was written to")
        except Exception as error:  # noqa: BLE001 - each caller gets it, and a bug must not end the thread
            self._rolled_back(jobs, waiting, error)
            return
        if self._committed is not None and transaction.changed:
            self._committed(transaction.changed)
        if self._checkpointer is not None:
            self._checkpointer.check()
        answer(jobs)
        if self._admission is not None:
            self._admission.after_commit(connection)

    def _keep_up(self, transaction: Transaction) -> None:
        """Remove expired and old entries now and then: in each transaction it would double the cost of a small one."""
        self._rows += transaction.rows
        self._written += transaction.written
        if self._rows >= _UPKEEP_ROWS or self._written >= _UPKEEP_BYTES:
            shorten = self._admission is None or self._admission.allows_vacuum
            pages_left = sys.maxsize if self._admission is None else self._admission.upkeep_pages
            maintenance.reclaim(
                transaction, self._rows, self._written, self._file_bytes, shorten=shorten, pages_left=pages_left
            )
            self._rows = self._written = 0

    def end(self) -> None:
        """Close the connection while no other process closes its own, so that the last one deletes the WAL."""
        with self.database.exclusive_close():
            self.close()

    def _begin(self, waiting: deque[Job]) -> sqlite3.Connection | None:
        """Begin a transaction with space for all of `waiting`; refused jobs are answered and removed.

        None if no job is left.
        """
        while waiting:
            connection = self._lock(waiting)
            if connection is None or self._admission is None:
                return connection
            refusal = self._admission.refusal(connection, waiting)
            if refusal is None:
                return connection
            self._refuse(refusal.writes, waiting, refusal.error)
        return None

    def _lock(self, waiting: deque[Job]) -> sqlite3.Connection | None:
        """Begin a transaction. Jobs whose time ends while another process holds the lock are refused."""
        pauses = iter(PAUSES)
        while True:
            try:
                connection = self.connection()
                connection.execute("BEGIN IMMEDIATE")
                return connection
            except Exception as error:  # noqa: BLE001 - each caller gets it, and a bug must not end the thread
                refused = list(waiting)
                if is_busy(error):
                    now = time.monotonic()
                    opened = self.opened_at  # the time for locks of a job that waited for the file begins here
                    refused = [job for job in waiting if max(job.limit, (opened or 0.0) + job.timeout) <= now]
                elif is_full(error) and self._admission is not None:
                    refused = self._admission.refused_at_open(waiting)
                self._refuse(refused, waiting, error)
                if not waiting:
                    return None
            time.sleep(next(pauses, PAUSES[-1]))

    def _refuse(self, jobs: Sequence[Job], waiting: deque[Job], error: Exception) -> None:
        for job in jobs:
            waiting.remove(job)
        if jobs:
            self.fail(jobs, error)

    def _rolled_back(self, jobs: list[Job], waiting: deque[Job], error: Exception) -> None:
        """Roll back after `error`; each of `jobs` is answered or put back in front of `waiting`."""
        connection = self._connection
        if connection is not None and connection.in_transaction:
            try:
                connection.execute("ROLLBACK")
            except sqlite3.Error:
                self.close()
        if not jobs:  # the error came from the prefetch, which concerns all of them
            jobs.extend(waiting)
            waiting.clear()
        if concerns_one_call(error) and not isinstance(error, OSError) and len(jobs) > 1:
            # Each job gets a transaction of its own, so that only the faulty one fails.
            waiting.extendleft(reversed(jobs))
            self._singly = len(jobs) + 1
            return
        connection = self._connection
        deletions = [job for job in jobs if not is_set(job)]
        if is_full(error) and connection is not None and self._admission is not None:
            # A deletion that shared the transaction is tried alone before it waits for space.
            until = deletions[0].limit if len(deletions) == 1 else 0.0
            again = bool(deletions) and self._admission.make_space(connection, until)
            if not again and len(deletions) > 1:
                self._singly, again = len(deletions) + 1, True
            if again:
                self.fail([job for job in jobs if is_set(job)], error)
                waiting.extendleft(reversed(deletions))
                return
        self.fail(jobs, error)
        connection = self._connection
        if is_full(error) and connection is not None and self._admission is not None:
            self._admission.after_refusal(connection)
