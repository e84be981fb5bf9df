"""Admission of writes: whether the disk and the WAL have space for them, and the steps that make space.

Sets are refused (`full`) before they use space that deletions need. Deletions are refused last: an invalidation must
depend neither on a full disk nor on the length of another program's read.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

from cachecore_sqlite.file.database import Database
from cachecore_sqlite.file.errors import full_error, is_busy
from cachecore_sqlite.file.locks import PAUSES
from cachecore_sqlite.file.schema import PAGE_BYTES
from cachecore_sqlite.space.checkpoint import LONG_SECONDS, OVERHEAD_BYTES, BackgroundCheckpoint, Wal
from cachecore_sqlite.space.reserve import REFUSING_SECONDS, Reserve
from cachecore_sqlite.table.transaction import Transaction, max_wal_bytes

_LONGEST_PAUSE_SECONDS: Final = 0.4
_TRUNCATE_SECONDS: Final = 0.5
_SHARES: Final = 32  # while the reserve is given up, one transaction takes about this share of it
_ROW_BYTES: Final = 2048  # of the reserve, for each deleted row
_DELETED_BYTES: Final = 2 * PAGE_BYTES  # of the WAL, for each deleted row; more is rare
_UPKEEP_SHARE: Final = 4  # one step of the upkeep takes at most this share of the WAL's usual length
T = TypeVar("T")


class Write(Protocol):
    """A write that waits for its transaction, where `call(transaction, *arguments)` runs."""

    call: Callable[..., object]
    arguments: tuple[Any, ...]
    limit: float
    """Monotonic s; the caller waits no longer."""


W = TypeVar("W", bound=Write)


@dataclass(frozen=True, slots=True)
class Refusal(Generic[W]):
    """The transaction was rolled back, and `writes` are refused with `error`. If there are none, it may begin again."""

    writes: Sequence[W]
    error: sqlite3.OperationalError


class SpaceAdmission:
    """Decides for the writer before, after and between transactions. For the writer's thread only."""

    def __init__(self, database: Database, background: BackgroundCheckpoint, close: Callable[[], None]) -> None:
        self._options = database.options
        self._wal = Wal(database, background)
        self._reserve = Reserve(database.path, database.options.max_bytes)
        self._close = close
        self.upkeep_pages = database.wal_bytes // _UPKEEP_SHARE // PAGE_BYTES
        """Largest number of WAL pages that one step of expiry and vacuum may take."""
        self.file_bytes = database.options.max_bytes - self._reserve.size - OVERHEAD_BYTES
        """Bytes that entries may take in the file; the reserve is beside it on the disk."""
        self._reserve_spent = False  # whether any process gave the reserve up, so that only deletions may write
        self._give_up_next = False  # whether to give the reserve up in the next transaction
        self._rebuild_at = 0.0  # monotonic s; sets are refused until then
        self._pause = REFUSING_SECONDS
        self._tried_restart = self._tried_reserve = False  # since the last commit, to make space for deletions
        self._refuse_until = 0.0  # monotonic s; until then sets that the WAL has no space for do not wait
        self._skip_restart_until = 0.0  # monotonic s; until then deletions do not wait for a restart of the WAL
        self._truncate_at = 0.0  # monotonic s

    @property
    def transaction_bytes(self) -> int:
        """About how many bytes of the WAL one transaction may take."""
        return self._reserve.size // _SHARES if self._reserve_spent else self._options.transaction_bytes

    def allows_upkeep(self, transaction: Transaction) -> bool:
        """Tell whether expired and old entries may be removed with this transaction, which takes WAL space as well.

        A transaction of deletions makes the file no larger, so it needs no upkeep while the WAL is long.
        """
        return not self._reserve_spent and (transaction.written > 0 or not self._wal.is_long)

    @property
    def allows_vacuum(self) -> bool:
        """Whether the file may be made shorter; not while the WAL is long, because vacuum only lengthens it."""
        return not self._wal.is_long

    def refusal(self, connection: sqlite3.Connection, waiting: Sequence[W]) -> Refusal[W] | None:
        """Return the refusal of some of `waiting`, or None if the current transaction has space for all of them."""
        self._wal.measure()
        return self._refused_for_deletions(connection, waiting) or self._refused_by_wal(connection, waiting)

    def refused_at_open(self, waiting: Iterable[W]) -> list[W]:
        """Return the writes to refuse when the disk had no space for the files that SQLite creates on opening."""
        sets = _sets(waiting)
        return sets if len(sets) < len(list(waiting)) and self._give_up() else list(waiting)

    def record(self, transaction: Transaction, key_bytes: int, seq: int) -> None:
        """Record a transaction that is about to commit and has logged `key_bytes` of changed keys up to `seq`."""
        self._wal.record(transaction.cost, transaction.deleted_rows, key_bytes, seq)

    def after_commit(self, connection: sqlite3.Connection) -> None:
        """Checkpoint or restart the WAL when its length calls for it."""
        self._tried_restart = self._tried_reserve = False
        if not self._reserve_spent:
            self._pause = REFUSING_SECONDS
            self._on_wal(lambda wal: wal.maintain(connection))
        elif self._wal.written > self._reserve.size // 4:
            self._restart_wal(connection)  # while the disk still has space for the pages that lengthen the file

    def make_space(self, connection: sqlite3.Connection, until: float) -> bool:
        """Take the next step to make space for deletions that found none; return whether to try them again.

        The steps repeat until `until` (monotonic s): meanwhile a reader may leave the WAL, or a slow disk may finish.
        """
        if not self._tried_restart:
            self._tried_restart = True
            if self._restart_wal(connection):
                return True
        if not self._tried_reserve and not self._reserve_spent:
            self._tried_reserve = self._give_up_next = True
            return True
        self._tried_restart = self._tried_reserve = False
        if time.monotonic() >= until:
            return False
        time.sleep(PAUSES[-1])  # neither a reader nor a disk signals that it is done
        return True

    def after_refusal(self, connection: sqlite3.Connection) -> None:
        """Truncate the WAL after a write found no space; the WAL itself may fill the disk."""
        if time.monotonic() > self._truncate_at:
            self._truncate_at = time.monotonic() + _TRUNCATE_SECONDS
            self._restart_wal(connection, truncate=True)

    def _refused_for_deletions(self, connection: sqlite3.Connection, waiting: Sequence[W]) -> Refusal[W] | None:
        """Create the reserve if it is absent, or give it up if deletions need it; without a reserve, refuse sets.

        The write lock is held meanwhile, so one process at a time creates or gives up the reserve.
        """
        give_up, self._give_up_next = self._give_up_next, False
        if give_up:
            sets = _sets(waiting)
            if len(sets) < len(waiting) and self._give_up():
                self._reserve_spent = True
                connection.execute("ROLLBACK")
                # First the restart: its pages may lengthen the file, and the WAL must not take that space before.
                self._restart_wal(connection)
                self._wal.preallocate(self._reserve.size // 2)
                return Refusal(sets, full_error("the remaining space is kept for deletions"))
        self._reserve_spent = not self._reserve.is_usable
        if not self._reserve_spent:
            return None
        sets = _sets(waiting)
        if not sets:
            # A deletion that used all the space would leave none for the pages that it adds to the file. The caller
            # splits a refused one.
            large = [write for write in waiting if _rows(write) > self._reserve.size // _SHARES // _ROW_BYTES]
            if not large:
                return None
            connection.execute("ROLLBACK")
            return Refusal(large, full_error("the remaining space is kept for a few deletions at a time"))
        if time.monotonic() >= self._rebuild_at:
            if self._reserve.create():
                self._reserve_spent = False
                return None
            self._rebuild_later()
            connection.execute("ROLLBACK")
            self._restart_wal(connection, truncate=True)  # the WAL may have taken the space of the reserve
        else:
            connection.execute("ROLLBACK")
        return Refusal(sets, full_error("the remaining space is kept for deletions"))

    def _refused_by_wal(self, connection: sqlite3.Connection, waiting: Sequence[W]) -> Refusal[W] | None:
        """Refuse the sets that the WAL has no space for, unless it can be restarted in time.

        After a restart, and while a reader may still leave the WAL in time, the refusal is empty: try again.
        """
        if not (self._wal.is_long or self._wal.is_short_of_disk):
            return None
        space = self._wal.space_left(connection)
        over, deleted = [], 0
        for write in waiting:
            needed = max_wal_bytes(write.call, write.arguments)
            if not needed:
                deleted += _rows(write) * _DELETED_BYTES  # deletions are not refused here
            elif needed > space:
                over.append(write)
            else:
                space -= needed
        if not over:
            postpone = space < deleted and self._wal.is_long and not self._reserve_spent
            return self._postponed(connection) if postpone else None
        error = full_error("the log cannot restart and must not grow")
        shortfall = self._wal.shortfall(connection)
        is_stuck = shortfall > 0
        released = is_stuck and shortfall <= self._reserve.size and self._release_for_sets(shortfall)
        connection.execute("ROLLBACK")
        if released:
            # The WAL returns more space than the file takes, so the reserve can be created again.
            self._restart_wal(connection, truncate=True)
        now = time.monotonic()
        limit = min(write.limit for write in over)
        # On a small disk the WAL may stay without space however often it restarts, if other processes write to it.
        if is_stuck or not self._wal.size or (self._wal.is_short_of_disk and now >= limit):
            return Refusal(over, error)
        latest = limit - self._options.timeout / 4  # leaves time for the writes behind it
        is_patient = self._refuse_until <= now < latest
        if self._on_wal(lambda wal: wal.restart(connection, LONG_SECONDS if is_patient else 0.0, truncate=True)):
            return Refusal((), error)
        if is_patient:
            time.sleep(PAUSES[-1])  # other processes get the lock
            return Refusal((), error)
        if now >= self._refuse_until:
            if self._on_wal(lambda wal: wal.truncate(connection)):
                return Refusal((), error)
            self._refuse_until = time.monotonic() + REFUSING_SECONDS
        return Refusal(over, error)

    def _postponed(self, connection: sqlite3.Connection) -> Refusal[W] | None:
        """Try to restart the WAL before deletions take it over its bound; if that fails, they go on."""
        if time.monotonic() < self._skip_restart_until:
            return None
        connection.execute("ROLLBACK")
        if not self._on_wal(lambda wal: wal.restart(connection, LONG_SECONDS, truncate=True)):
            self._skip_restart_until = time.monotonic() + LONG_SECONDS
        return Refusal((), full_error("the log cannot restart"))

    def _release_for_sets(self, count: int) -> bool:
        """Release `count` bytes of the reserve for a checkpoint when other programs took its space; not too often."""
        if time.monotonic() < self._rebuild_at:
            return False
        self._rebuild_later()
        self._reserve_spent = self._reserve.release(count)
        return self._reserve_spent

    def _give_up(self) -> bool:
        self._rebuild_later()
        return self._reserve.give_up()

    def _rebuild_later(self) -> None:
        self._rebuild_at = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)

    def _restart_wal(self, connection: sqlite3.Connection, *, truncate: bool = False) -> bool:
        """Restart the WAL; if the reserve was given up, the rest of it covers the bytes that the file lacks.

        `truncate` returns the space of the WAL to the disk. Otherwise it is kept, so that deletions can overwrite it.
        """

        def step(wal: Wal) -> bool:
            if self._reserve_spent:
                wal.measure()
                shortfall = wal.shortfall(connection)
                if shortfall > 0 and not self._reserve.release(shortfall):
                    return False
            return wal.restart(connection, 0.0, truncate=truncate)

        return bool(self._on_wal(step))

    def _on_wal(self, step: Callable[[Wal], T]) -> T | None:
        """Run a step that checkpoints the WAL; return None if it fails."""
        try:
            return step(self._wal)
        except sqlite3.Error as error:
            # No acknowledged write is lost: the WAL holds it. The next transaction meets a lasting fault.
            if not is_busy(error):
                self._close()
            return None


def is_set(write: Write) -> bool:
    """Tell whether a write stores a value; all others only delete."""
    return max_wal_bytes(write.call, write.arguments) > 0


def _sets(writes: Iterable[W]) -> list[W]:
    return [write for write in writes if is_set(write)]


def _rows(write: Write) -> int:
    return len(write.arguments[0]) if write.call is Transaction.drop else 1
