"""The thread that writes: whatever waits becomes one transaction, acknowledged when it is committed."""

from __future__ import annotations

import sqlite3
import time
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final

from cachecore.clock import Clock
from cachecore_sqlite import upkeep
from cachecore_sqlite.file import Database
from cachecore_sqlite.schema import PAGE_BYTES
from cachecore_sqlite.transaction import Transaction
from cachecore_sqlite.translate import Moved, concerns_one_call, is_busy, is_full
from cachecore_sqlite.whose import inode_of, size_of
from cachecore_sqlite.workers import PAUSES, Job, Worker, answer

_ATTEMPT_SECONDS: Final = 0.5
_PAGES_BESIDES: Final = 3  # that a transaction changes, be it ever so small
_UPKEEP_ROWS: Final = 16
_UPKEEP_BYTES: Final = 64 * 1024
_CACHE_KIB: Final = 32 * 1024


class Writer(Worker):
    """Writes, in one transaction for all that wait; in memory, reads too."""

    batch_jobs = 1024

    def __init__(
        self,
        database: Database,
        clock: Clock,
        jobs: SimpleQueue[Job | None],
        committed: Callable[[list[str]], None] | None = None,
    ) -> None:
        super().__init__("writer", database, clock, jobs)
        # Keys are digests, so each write lands on another page of the index: those of a large file should be at hand.
        self.cache_kib = min(_CACHE_KIB, database.options.max_bytes // 32 // 1024)
        self._committed = committed
        self._next_attempt = 0.0
        self._singly = 0  # how many jobs must have a transaction of their own
        self._unsaved = 0  # bytes written to the log since the last checkpoint, about
        self._rows = self._written = 0  # since the last upkeep

    def work(self, waiting: deque[Job]) -> None:
        """Run what waits in one transaction, answer, and only then move the log into the file."""
        jobs: list[Job] = []
        most = self.database.options.transaction_bytes
        self._singly = max(0, self._singly - 1)
        try:
            connection = self._begin(waiting)
            if connection is None:
                return
            transaction = Transaction(connection, self.clock.time(), self.database.options.max_bytes)
            if not self._singly:
                transaction.foresee(job.asked for job in waiting if job.asked is not None)
            while waiting:
                jobs.append(waiting.popleft())
                jobs[-1].result = jobs[-1].ask(transaction)
                if self._singly or transaction.cost >= most:
                    break
            transaction.flush()
            if transaction.changed:
                upkeep.log(transaction)
                self._keep_up(transaction)
            connection.execute("COMMIT")
            if self._inode is not None and inode_of(self.database.path) != self._inode:
                raise Moved(f"{self.database.path} was moved or deleted while it was written to")
        except Exception as error:  # noqa: BLE001 - every caller is told, and a bug must not end the thread
            self._rolled_back(jobs, waiting, error)
            return
        if self._committed is not None and transaction.changed:
            self._committed(transaction.changed)
        answer(jobs)
        # Each row changes a page of the index of hashes, another one for nearly each row of a large file.
        self._unsaved += transaction.written + PAGE_BYTES * (transaction.rows + _PAGES_BESIDES)
        if self._inode is not None and (self._unsaved >= self.database.log_bytes or self._log_is_long()):
            self._unsaved = 0
            self._checkpoint(connection)

    def _keep_up(self, transaction: Transaction) -> None:
        """Reclaim room now and then: its few statements would make up most of a small transaction."""
        self._rows += transaction.rows
        self._written += transaction.written
        if self._rows >= _UPKEEP_ROWS or self._written >= _UPKEEP_BYTES:
            upkeep.reclaim(transaction, self._rows, self._written)
            self._rows = self._written = 0

    def end(self) -> None:
        """Close the connection, not at the same time as another process, so that the last one cleans up."""
        with self.database.last_words():
            self.close()

    def _begin(self, waiting: deque[Job]) -> sqlite3.Connection | None:
        """Start a transaction; jobs whose time is up while another process holds the lock are answered with that."""
        pauses = iter(PAUSES)
        while True:
            try:
                connection = self.connection()
                connection.execute("BEGIN IMMEDIATE")
                return connection
            except Exception as error:  # noqa: BLE001 - every caller is told, and a bug must not end the thread
                late = list(waiting)
                if is_busy(error):
                    now = time.monotonic()
                    late = [job for job in waiting if job.limit <= now]
                for job in late:
                    waiting.remove(job)
                if late:
                    self.failed(late, error)
                if not waiting:
                    return None
            time.sleep(next(pauses, PAUSES[-1]))

    def _rolled_back(self, jobs: list[Job], waiting: deque[Job], error: Exception) -> None:
        connection = self._connection
        if connection is not None and connection.in_transaction:
            try:
                connection.execute("ROLLBACK")
            except sqlite3.Error:
                self.close()
        if not jobs:  # what all of them expect was looked up at once, and that failed
            jobs.extend(waiting)
            waiting.clear()
        if concerns_one_call(error) and not isinstance(error, OSError) and len(jobs) > 1:
            # One of them is at fault; each goes again, alone, so that the others do not suffer for it.
            waiting.extendleft(reversed(jobs))
            self._singly = len(jobs) + 1
            return
        self.failed(jobs, error)
        if self._connection is not None and is_full(error) and time.monotonic() > self._next_attempt:
            # The log may be what fills the disk; moved into the file, it is written from its beginning again.
            self._next_attempt = time.monotonic() + _ATTEMPT_SECONDS
            self._checkpoint(self._connection)

    def _log_is_long(self) -> bool:
        # Other processes write to it, too, and it begins anew only when nobody reads what it has.
        return size_of(self.database.path + "-wal") > self.database.log_bytes * 3 // 2

    def _checkpoint(self, connection: sqlite3.Connection) -> None:
        try:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            pauses = iter(PAUSES)
            while self._log_is_long() and (pause := next(pauses, None)) is not None:
                # Somebody is reading nearly always: a moment when nobody is has to be looked for.
                (busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                if busy:
                    time.sleep(pause)
        except sqlite3.Error as error:
            # Nothing acknowledged is lost: the log holds it. The next transaction meets the fault, if it stays.
            if not is_busy(error):
                self.close()
