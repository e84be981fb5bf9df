"""The thread that writes: whatever waits becomes one transaction, acknowledged when it is committed."""

from __future__ import annotations

import sqlite3
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from cachecore.contract.clock import Clock
from cachecore_sqlite.file.database import Database
from cachecore_sqlite.file.errors import Moved, concerns_one_call, is_busy, is_full
from cachecore_sqlite.space.admission import Room, stores
from cachecore_sqlite.space.checkpoint import Saver
from cachecore_sqlite.table import maintenance as upkeep
from cachecore_sqlite.table.transaction import Transaction
from cachecore_sqlite.worker import PAUSES, Job, Jobs, Worker, answer

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
        jobs: Jobs,
        saver: Saver | None,
        committed: Callable[[list[str]], None] | None = None,
    ) -> None:
        super().__init__("writer", database, clock, jobs)
        self._saver = saver
        self._room = None if saver is None else Room(database, saver, self.close)  # in memory, nothing has to fit
        self._file_bytes = self.database.options.max_bytes if self._room is None else self._room.file_bytes
        # Keys are digests, so each write looks at another page of their places: a large file's should be at hand.
        self.cache_kib = min(_CACHE_KIB, database.options.max_bytes // 32 // 1024)
        self._committed = committed
        self._singly = 0  # how many jobs must have a transaction of their own
        self._rows = self._written = 0  # since the last upkeep

    def work(self, waiting: deque[Job]) -> None:
        """Run what waits in one transaction, answer, and only then move the log into the file."""
        jobs: list[Job] = []
        self._singly = max(0, self._singly - 1)
        try:
            connection = self._begin(waiting)
            if connection is None:
                return
            most = (self._room or self.database.options).transaction_bytes
            transaction = Transaction(connection, self.clock.time(), self.database.options.max_bytes)
            if not self._singly:
                transaction.foresee(job.asked for job in waiting if job.asked is not None)
            while waiting:
                job = waiting.popleft()
                jobs.append(job)
                job.result = job.ask(transaction, *job.arguments)
                if self._singly or transaction.cost >= most:
                    break
            transaction.flush()
            if transaction.changed:
                keys, seq = upkeep.log(transaction)
                if self._room is not None:
                    self._room.wrote(transaction, keys, seq)
                if self._room is None or self._room.is_for_upkeep(transaction):
                    self._keep_up(transaction)
            connection.execute("COMMIT")
            if self._files is not None and not self.database.is_current(self._files):
                raise Moved(f"{self.database.path} was moved or deleted while it was written to")
        except Exception as error:  # noqa: BLE001 - every caller is told, and a bug must not end the thread
            self._rolled_back(jobs, waiting, error)
            return
        if self._committed is not None and transaction.changed:
            self._committed(transaction.changed)
        if self._saver is not None:
            self._saver.check()
        answer(jobs)
        if self._room is not None:
            self._room.committed(connection)

    def _keep_up(self, transaction: Transaction) -> None:
        """Reclaim room now and then: its few statements would make up most of a small transaction."""
        self._rows += transaction.rows
        self._written += transaction.written
        if self._rows >= _UPKEEP_ROWS or self._written >= _UPKEEP_BYTES:
            shorten = self._room is None or self._room.is_for_vacuum
            pages = sys.maxsize if self._room is None else self._room.pages_for_upkeep
            upkeep.reclaim(transaction, self._rows, self._written, self._file_bytes, shorten=shorten, pages_left=pages)
            self._rows = self._written = 0

    def end(self) -> None:
        """Close the connection, not at the same time as another process, so that the last one cleans up."""
        with self.database.last_words():
            self.close()

    def _begin(self, waiting: deque[Job]) -> sqlite3.Connection | None:
        """Start a transaction that has room for all that waits; what cannot be done is answered and taken out."""
        while waiting:
            connection = self._lock(waiting)
            if connection is None or self._room is None:
                return connection
            refusal = self._room.refusal(connection, waiting)
            if refusal is None:
                return connection
            self._refuse(refusal.jobs, waiting, refusal.error)
        return None

    def _lock(self, waiting: deque[Job]) -> sqlite3.Connection | None:
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
                elif is_full(error) and self._room is not None:
                    late = self._room.refused_at_opening(waiting)
                self._refuse(late, waiting, error)
                if not waiting:
                    return None
            time.sleep(next(pauses, PAUSES[-1]))

    def _refuse(self, jobs: Sequence[Job], waiting: deque[Job], error: Exception) -> None:
        for job in jobs:
            waiting.remove(job)
        if jobs:
            self.failed(jobs, error)

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
        connection = self._connection
        deletions = [job for job in jobs if not stores(job)]
        if is_full(error) and connection is not None and self._room is not None:
            # What is not alone is tried alone before it waits for room.
            until = deletions[0].limit if len(deletions) == 1 else 0.0
            again = bool(deletions) and self._room.relieved(connection, until)
            if not again and len(deletions) > 1:
                self._singly, again = len(deletions) + 1, True
            if again:
                self.failed([job for job in jobs if stores(job)], error)
                waiting.extendleft(reversed(deletions))
                return
        self.failed(jobs, error)
        connection = self._connection
        if is_full(error) and connection is not None and self._room is not None:
            self._room.refused(connection)
