"""Whether there is room for what waits to be written, on the disk and in the log, and what is done if not.

What stores is refused, as `full`, before it takes room that deletions need. Deletions are refused last of all: an
invalidation must depend neither on how full a disk is nor on how long somebody reads.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from cachecore_sqlite.file.database import Database
from cachecore_sqlite.file.errors import full, is_busy
from cachecore_sqlite.file.schema import PAGE_BYTES
from cachecore_sqlite.space.checkpoint import BESIDES_BYTES, LONG_SECONDS, Log, Saver
from cachecore_sqlite.space.reserve import REFUSING_SECONDS, Reserve
from cachecore_sqlite.table.transaction import Transaction, most_logged
from cachecore_sqlite.worker import PAUSES, Job

_LONGEST_REFUSAL: Final = 0.4
_ATTEMPT_SECONDS: Final = 0.5
_SHARES: Final = 32  # of the reserve, of which a transaction takes one, about, or some more
_ROW_BYTES: Final = 2048  # of it, for each row that goes
_DELETED_BYTES: Final = 2 * PAGE_BYTES  # of the log, for each row that goes: hardly ever more
_UPKEEP_SHARE: Final = 4  # of the log's usual length, the part that one step of the upkeep may take
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Refusal:
    """A transaction that was ended, because there is no room for `jobs`. None of them: it may be begun again."""

    jobs: Sequence[Job]
    error: sqlite3.OperationalError


class Room:
    """What the writer asks before it writes, when it has written, and when it could not. For its thread only."""

    def __init__(self, database: Database, saver: Saver, close: Callable[[], None]) -> None:
        self._options = database.options
        self._log = Log(database, saver)
        self._reserve = Reserve(database.path, database.options.max_bytes)
        self._close = close
        self.pages_for_upkeep = database.log_bytes // _UPKEEP_SHARE // PAGE_BYTES
        """How many pages of the log a step of the upkeep may take for what expired, and to make the file shorter."""
        self.file_bytes = database.options.max_bytes - self._reserve.size - BESIDES_BYTES
        """How many bytes entries may take in the file: the reserve is on the disk besides."""
        self._without = False  # whether the reserve was given up, by any process: room is for deletions only
        self._giving_up = False  # whether to give it up when the lock is held next
        self._make_at = 0.0  # monotonic s; before, what stores is refused
        self._pause = REFUSING_SECONDS
        self._begun_anew = self._gave_up = False  # since the last commit, to get room for deletions that found none
        self._refuse_until = 0.0  # monotonic s; what the log has no room for is not waited for before
        self._go_on_until = 0.0  # monotonic s; deletions do not wait for the log before
        self._next_attempt = 0.0  # monotonic s

    @property
    def transaction_bytes(self) -> int:
        """About how many bytes of the log one transaction may take."""
        return self._reserve.size // _SHARES if self._without else self._options.transaction_bytes

    def is_for_upkeep(self, transaction: Transaction) -> bool:
        """Whether expired and old entries may be removed, which takes room in the log, too.

        What only deletes makes the file no larger, so nothing has to go for it while the log is long.
        """
        return not self._without and (transaction.written > 0 or not self._log.is_long)

    @property
    def is_for_vacuum(self) -> bool:
        """Whether to make the file shorter: not before a long log has begun anew, which only that would get longer."""
        return not self._log.is_long

    def refusal(self, connection: sqlite3.Connection, waiting: Sequence[Job]) -> Refusal | None:
        """Look whether there is room for what waits, in a transaction that has begun; None: it may go on."""
        self._log.look()
        return self._refused_for_deletions(connection, waiting) or self._refused_by_the_log(connection, waiting)

    def refused_at_opening(self, waiting: Iterable[Job]) -> list[Job]:
        """Return for whom there is no room, if there was none for the files that SQLite needs to open the database."""
        stores = _stores(waiting)
        return stores if len(stores) < len(list(waiting)) and self._give_up() else list(waiting)

    def wrote(self, transaction: Transaction, keys: int, seq: int) -> None:
        """Note what is about to be committed, and so many bytes of changed keys, the last of which is `seq`."""
        self._log.wrote(transaction.cost, transaction.gone, keys, seq)

    def committed(self, connection: sqlite3.Connection) -> None:
        """Move the log into the file, or begin it anew, if it is time."""
        self._begun_anew = self._gave_up = False
        if not self._without:
            self._pause = REFUSING_SECONDS
            self._saving(lambda log: log.tend(connection))
        elif self._log.written > self._reserve.size // 4:
            self._begin_anew(connection)  # before it leaves no room for what deletions make the file longer

    def relieved(self, connection: sqlite3.Connection, until: float) -> bool:
        """Take the next step to get room for deletions that found none; tell whether to try again.

        After the last step it begins again, up to `until` (monotonic s): a reader may let go of the log meanwhile, and
        a busy disk or machine may get done with moving it.
        """
        if not self._begun_anew:
            self._begun_anew = True
            if self._begin_anew(connection):
                return True
        if not self._gave_up and not self._without:
            self._gave_up = self._giving_up = True
            return True
        self._begun_anew = self._gave_up = False
        if time.monotonic() >= until:
            return False
        time.sleep(PAUSES[-1])  # nothing here can wake us: neither readers nor disks tell when they are done
        return True

    def refused(self, connection: sqlite3.Connection) -> None:
        """See that there is room later, where there was none: the log may be what fills the disk."""
        if time.monotonic() > self._next_attempt:
            self._next_attempt = time.monotonic() + _ATTEMPT_SECONDS
            self._begin_anew(connection, cut=True)

    def _refused_for_deletions(self, connection: sqlite3.Connection, waiting: Sequence[Job]) -> Refusal | None:
        """Make the reserve if it is absent, or give it up if deletions need its room; without, refuse what stores.

        Nobody else writes while it is made or given up.
        """
        giving_up, self._giving_up = self._giving_up, False
        if giving_up:
            stores = _stores(waiting)
            if len(stores) < len(waiting) and self._give_up():
                self._without = True
                connection.execute("ROLLBACK")
                # Before the log takes that room: what is in it may make the file longer.
                self._begin_anew(connection)
                self._log.hold(self._reserve.size // 2)
                return Refusal(stores, full("the room that is left is for deletions"))
        self._without = not self._reserve.is_there
        if not self._without:
            return None
        stores = _stores(waiting)
        if not stores:
            # What takes all the room leaves none for what it makes the file longer; the caller asks for less then.
            large = [job for job in waiting if _rows(job) > self._reserve.size // _SHARES // _ROW_BYTES]
            if not large:
                return None
            connection.execute("ROLLBACK")
            return Refusal(large, full("the room that is left is for a few deletions at a time"))
        if time.monotonic() >= self._make_at:
            if self._reserve.make():
                self._without = False
                return None
            self._make_later()
            connection.execute("ROLLBACK")
            self._begin_anew(connection, cut=True)  # the log may be what has taken its room
        else:
            connection.execute("ROLLBACK")
        return Refusal(stores, full("the room that is left is for deletions"))

    def _refused_by_the_log(self, connection: sqlite3.Connection, waiting: Sequence[Job]) -> Refusal | None:
        """Refuse what the log has no room for, unless it begins anew in time.

        If it could be begun anew, or if it is worth a while until a reader may have let go of it, nothing is refused.
        """
        if not (self._log.is_long or self._log.is_short_of_disk):
            return None
        room = self._log.room(connection)
        over, deleted = [], 0
        for job in waiting:
            needed = most_logged(job.ask, job.arguments)
            if not needed:
                deleted += _rows(job) * _DELETED_BYTES  # nothing is refused for that
            elif needed > room:
                over.append(job)
            else:
                room -= needed
        if not over:
            put_off = room < deleted and self._log.is_long and not self._without
            return self._put_off(connection) if put_off else None
        error = full("the log cannot begin anew, and must not get any longer")
        lacks = self._log.lacks(connection)
        stuck = lacks > 0
        gave_up = stuck and lacks <= self._reserve.size and self._gives_up_for_sets(lacks)
        connection.execute("ROLLBACK")
        if gave_up:
            # What the log gives back is more than what the file takes, so the reserve can be made again.
            self._begin_anew(connection, cut=True)
        now = time.monotonic()
        limit = min(job.limit for job in over)
        # On a small disk the log may have no room however often it begins anew, if others write to it meanwhile.
        if stuck or not self._log.size or (self._log.is_short_of_disk and now >= limit):
            return Refusal(over, error)
        latest = limit - self._options.timeout / 4  # what comes behind it has some time left, too
        patient = self._refuse_until <= now < latest
        if self._saving(lambda log: log.begin_anew(connection, LONG_SECONDS if patient else 0.0, cut=True)):
            return Refusal((), error)
        if patient:
            time.sleep(PAUSES[-1])  # so that other processes get their turn
            return Refusal((), error)
        if now >= self._refuse_until:
            if self._saving(lambda log: log.empty(connection)):
                return Refusal((), error)
            self._refuse_until = time.monotonic() + REFUSING_SECONDS
        return Refusal(over, error)

    def _put_off(self, connection: sqlite3.Connection) -> Refusal | None:
        """Try to begin the log anew before deletions make it longer than it may get; if it cannot, they go on."""
        if time.monotonic() < self._go_on_until:
            return None
        connection.execute("ROLLBACK")
        if not self._saving(lambda log: log.begin_anew(connection, LONG_SECONDS, cut=True)):
            self._go_on_until = time.monotonic() + LONG_SECONDS
        return Refusal((), full("the log cannot begin anew"))

    def _gives_up_for_sets(self, count: int) -> bool:
        """Give `count` bytes up, so that the log may begin anew, whose room others have taken; not too often."""
        if time.monotonic() < self._make_at:
            return False
        self._make_later()
        self._without = self._reserve.release(count)
        return self._without

    def _give_up(self) -> bool:
        self._make_later()
        return self._reserve.give_up()

    def _make_later(self) -> None:
        self._make_at = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, _LONGEST_REFUSAL)

    def _begin_anew(self, connection: sqlite3.Connection, *, cut: bool = False) -> bool:
        """Begin the log anew; what the file lacks for that comes out of the reserve, if that was given up.

        If `cut`, the disk gets back what it took; if not, deletions have it to write over, whoever else wants room.
        """

        def step(log: Log) -> bool:
            if self._without:
                log.look()
                lacks = log.lacks(connection)
                if lacks > 0 and not self._reserve.release(lacks):
                    return False
            return log.begin_anew(connection, 0.0, cut=cut)

        return bool(self._saving(step))

    def _saving(self, step: Callable[[Log], T]) -> T | None:
        """Take a step that moves the log into the file; None if it fails."""
        try:
            return step(self._log)
        except sqlite3.Error as error:
            # Nothing acknowledged is lost: the log holds it. The next transaction meets the fault, if it stays.
            if not is_busy(error):
                self._close()
            return None


def stores(job: Job) -> bool:
    """Tell whether a job stores something; the others only delete."""
    return most_logged(job.ask, job.arguments) > 0


def _stores(jobs: Iterable[Job]) -> list[Job]:
    return [job for job in jobs if stores(job)]


def _rows(job: Job) -> int:
    return len(job.arguments[0]) if job.ask is Transaction.drop else 1
