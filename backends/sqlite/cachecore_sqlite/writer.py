"""The thread that writes: whatever waits becomes one transaction, acknowledged when it is committed."""

from __future__ import annotations

import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from queue import SimpleQueue
from typing import Final, TypeVar

from cachecore.clock import Clock
from cachecore_sqlite import upkeep
from cachecore_sqlite.file import Database
from cachecore_sqlite.reserve import Reserve
from cachecore_sqlite.saver import LONG_SECONDS, Log, Saver
from cachecore_sqlite.transaction import Transaction, most_logged
from cachecore_sqlite.translate import Moved, concerns_one_call, is_busy, is_full
from cachecore_sqlite.whose import inode_of
from cachecore_sqlite.workers import PAUSES, Job, Worker, answer

_ATTEMPT_SECONDS: Final = 0.5
_REFUSING_SECONDS: Final = 0.05
_LONGEST_REFUSING_SECONDS: Final = 0.4
_SHARES: Final = 32  # of the reserve, of which a transaction takes one, about, or some more
_ROW_BYTES: Final = 2048  # of it, for each row that goes
_UPKEEP_ROWS: Final = 16
_UPKEEP_BYTES: Final = 64 * 1024
_CACHE_KIB: Final = 32 * 1024
T = TypeVar("T")


class Writer(Worker):
    """Writes, in one transaction for all that wait; in memory, reads too."""

    batch_jobs = 1024

    def __init__(
        self,
        database: Database,
        clock: Clock,
        jobs: SimpleQueue[Job | None],
        saver: Saver | None,
        committed: Callable[[list[str]], None] | None = None,
    ) -> None:
        super().__init__("writer", database, clock, jobs)
        self._log = None if saver is None else Log(database, saver)
        self._reserve = None if saver is None else Reserve(database.path, database.options.max_bytes)
        self._without = False  # whether the reserve was given up, by any process: room is for deletions only
        self._giving_up = False  # whether to give it up when the lock is held next
        self._make_at = 0.0  # monotonic s; before, what stores is refused
        self._pause = _REFUSING_SECONDS
        self._begun_anew = self._gave_up = False  # since the last commit, to get room for deletions that found none
        # Keys are digests, so each write lands on another page of the index: those of a large file should be at hand.
        self.cache_kib = min(_CACHE_KIB, database.options.max_bytes // 32 // 1024)
        self._committed = committed
        self._next_attempt = 0.0
        self._singly = 0  # how many jobs must have a transaction of their own
        self._refuse_until = 0.0  # monotonic s; what the log has no room for is not waited for before
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
            if self._without and self._reserve is not None:
                most = self._reserve.size // _SHARES
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
                if self._log is not None:
                    self._log.wrote(transaction.rows, transaction.written, keys, seq)
                if not self._without:
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
        self._begun_anew = self._gave_up = False
        if not self._without:
            self._pause = _REFUSING_SECONDS
            self._saving(lambda log: log.tend(connection))
        elif self._log is not None and self._reserve is not None and self._log.size > self._reserve.size // 4:
            self._begin_anew(connection)  # before it leaves no room for what deletions make the file longer

    def _keep_up(self, transaction: Transaction) -> None:
        """Reclaim room now and then: its few statements would make up most of a small transaction."""
        self._rows += transaction.rows
        self._written += transaction.written
        if self._rows >= _UPKEEP_ROWS or self._written >= _UPKEEP_BYTES:
            # The file gets no shorter before a long log has begun anew; until then only the log would get longer.
            shorten = self._log is None or not self._log.is_long
            kept = 0 if self._reserve is None else self._reserve.size  # is on the disk besides
            bounded = replace(transaction, max_bytes=transaction.max_bytes - kept)
            upkeep.reclaim(bounded, self._rows, self._written, shorten=shorten)
            self._rows = self._written = 0

    def end(self) -> None:
        """Close the connection, not at the same time as another process, so that the last one cleans up."""
        with self.database.last_words():
            self.close()

    def _begin(self, waiting: deque[Job]) -> sqlite3.Connection | None:
        """Start a transaction that has room for all that waits; what cannot be done is answered and taken out."""
        while waiting:
            connection = self._lock(waiting)
            if connection is None or self._log is None or self._reserve is None:
                return connection
            self._log.look()
            if not self._keeps_reserve(connection, self._reserve, waiting):
                continue
            if self._has_room(connection, self._log, waiting):
                return connection
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
                elif is_full(error) and self._reserve is not None:  # not even the log could be opened
                    stores = _stores(waiting)
                    if len(stores) < len(waiting) and self._give_up(self._reserve):
                        late = stores
                self._refuse(late, waiting, error)
                if not waiting:
                    return None
            time.sleep(next(pauses, PAUSES[-1]))

    def _keeps_reserve(self, connection: sqlite3.Connection, reserve: Reserve, waiting: deque[Job]) -> bool:
        """Make the reserve if it is absent, or give it up if deletions need its room; without, refuse what stores.

        Returns False if the transaction has ended meanwhile. Nobody else writes while it is made or given up.
        """
        giving_up, self._giving_up = self._giving_up, False
        if giving_up and len(_stores(waiting)) < len(waiting) and self._give_up(reserve):
            self._without = True
            connection.execute("ROLLBACK")
            self._refuse(_stores(waiting), waiting, _full("the room that is left is for deletions"))
            # Before the log takes that room: what is in it may make the file longer.
            self._begin_anew(connection)
            return False
        self._without = not reserve.is_there
        if not self._without:
            return True
        stores = _stores(waiting)
        if not stores:
            # What takes all the room leaves none for what it makes the file longer; the caller asks for less then.
            large = [job for job in waiting if _rows(job) > reserve.size // _SHARES // _ROW_BYTES]
            if large:
                connection.execute("ROLLBACK")
                self._refuse(large, waiting, _full("the room that is left is for a few deletions at a time"))
            return not large
        if time.monotonic() >= self._make_at:
            if reserve.make():
                self._without = False
                return True
            self._make_later()
            connection.execute("ROLLBACK")
            self._begin_anew(connection)  # the log may be what has taken its room
        else:
            connection.execute("ROLLBACK")
        self._refuse(stores, waiting, _full("the room that is left is for deletions"))
        return False

    def _give_up(self, reserve: Reserve) -> bool:
        self._make_later()
        return reserve.give_up()

    def _make_later(self) -> None:
        self._make_at = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, _LONGEST_REFUSING_SECONDS)

    def _begin_anew(self, connection: sqlite3.Connection) -> bool:
        """Begin the log anew and cut it off; not if the file would take the room that deletions need."""

        def step(log: Log) -> bool:
            if self._without and not log.fits(connection):
                return False
            return log.begin_anew(connection, 0.0, cut=True)

        return bool(self._saving(step))

    def _relieved(self, connection: sqlite3.Connection, jobs: list[Job]) -> bool:
        """Take the next step to get room for deletions; tell whether to try again."""
        if not self._begun_anew:
            self._begun_anew = True
            if self._begin_anew(connection):
                return True
        if not self._gave_up and not self._without:
            self._gave_up = self._giving_up = True
            return True
        self._begun_anew = self._gave_up = False
        if len(jobs) > 1:
            self._singly = len(jobs) + 1
            return True
        return False

    def _has_room(self, connection: sqlite3.Connection, log: Log, waiting: deque[Job]) -> bool:
        """Tell whether the log has room for what waits. If not, the transaction has ended, and something was done.

        Either the log has begun anew, or some time went by in which a reader may have let go of it, or what there is no
        room for was refused. Deletions never are: an invalidation must not depend on how long somebody reads.
        """
        overflows = log.overflows(connection)
        if not log.is_long and not overflows:
            return True
        room = 0 if overflows else log.room(connection)
        over = []
        for job in waiting:
            needed = most_logged(job.ask, job.arguments)
            if not needed:
                continue
            if needed > room:
                over.append(job)
            else:
                room -= needed
        if not over:
            return True
        connection.execute("ROLLBACK")
        now = time.monotonic()
        # A quarter of the time it has is left to what comes behind it.
        latest = min(job.limit for job in over) - self.database.options.timeout / 4
        patient = self._refuse_until <= now < latest
        if self._saving(lambda log: log.begin_anew(connection, LONG_SECONDS if patient else 0.0, cut=True)):
            return False
        if patient:
            time.sleep(PAUSES[-1])  # so that other processes get their turn
            return False
        if now >= self._refuse_until:
            if self._saving(lambda log: log.empty(connection)):
                return False
            self._refuse_until = time.monotonic() + _REFUSING_SECONDS
        self._refuse(over, waiting, _full("the log cannot begin anew, and must not get any longer"))
        return False

    def _refuse(self, jobs: list[Job], waiting: deque[Job], error: Exception) -> None:
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
        if is_full(error) and connection is not None and self._reserve is not None:
            deletions = [job for job in jobs if not _stores((job,))]
            if deletions and self._relieved(connection, deletions):
                self.failed(_stores(jobs), error)
                waiting.extendleft(reversed(deletions))
                return
        self.failed(jobs, error)
        if connection is not None and is_full(error) and time.monotonic() > self._next_attempt:
            # The log may be what fills the disk; moved into the file, it is written from its beginning again.
            self._next_attempt = time.monotonic() + _ATTEMPT_SECONDS
            self._begin_anew(connection)

    def _saving(self, step: Callable[[Log], T]) -> T | None:
        """Take a step that moves the log into the file; None if it fails."""
        if self._log is None:
            return None
        try:
            return step(self._log)
        except sqlite3.Error as error:
            # Nothing acknowledged is lost: the log holds it. The next transaction meets the fault, if it stays.
            if not is_busy(error):
                self.close()
            return None


def _stores(jobs: Iterable[Job]) -> list[Job]:
    """Return those that store something."""
    return [job for job in jobs if most_logged(job.ask, job.arguments)]


def _rows(job: Job) -> int:
    return len(job.arguments[0]) if job.ask is Transaction.drop else 1


def _full(why: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(why)
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    return error
