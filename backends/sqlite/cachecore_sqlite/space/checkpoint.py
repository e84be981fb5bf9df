"""The WAL (SQLite's write-ahead log): its length, the length it may reach, and its restart.

A background thread checkpoints: it copies pages from the WAL to the database file while other connections read and
write. SQLite restarts the WAL (writes it from the start again) only when every page was copied, which a thread beside
busy writers never achieves. So the writer takes the write lock while the last, small part is copied.

A reader blocks the restart for the length of its read only: a read that begins after a complete checkpoint uses the
database file alone. The time that the disk or a reader takes is unknown, so the write lock is held for `LONG_SECONDS`
at most, and the restart is tried again later. Meanwhile the WAL grows up to its bound, where writes that would extend
it are refused.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
import threading
import time
from typing import Final, Protocol

from cachecore_sqlite.file.database import Database
from cachecore_sqlite.file.locks import PAUSES
from cachecore_sqlite.file.open_files import WAL_SUFFIX
from cachecore_sqlite.file.ownership import free_bytes, size_of
from cachecore_sqlite.file.schema import PAGE_BYTES
from cachecore_sqlite.space.reserve import reserve_bytes

_BOUND: Final = 1.3  # file, WAL and reserve together, as a multiple of `max_bytes`
_WAKE_SHARE: Final = 16  # a checkpoint starts whenever the WAL has grown by this share of its usual length
_NEARLY_FULL: Final = 4  # the disk is short of space below this many usual lengths of the WAL
_SHARE_OF_DISK: Final = 8  # on a small disk the usual length is this share of the free space
_PREALLOCATED_BYTES: Final = 64 * 1024  # written at a time
_MEASURE_SECONDS: Final = 0.02  # between two looks at the free space of a large disk
_PAGES_PER_TRANSACTION: Final = 4  # pages that the smallest transaction changes
_PATIENT_SECONDS: Final = 1.0
_VERSION: Final = "PRAGMA data_version"  # changes when another connection has committed
_SHORT_SECONDS: Final = 0.002
OVERHEAD_BYTES: Final = 16 * PAGE_BYTES
"""About the size of the pages that one transaction changes for eviction and vacuum; matters in a small store only."""
LONG_SECONDS: Final = 0.01
"""Longest time that writers of all processes are locked out; shorter than their `timeout`."""


class BackgroundCheckpoint(Protocol):
    """A checkpoint that runs in another thread."""

    idle: threading.Event
    """Set while no checkpoint runs."""
    pages: int | None
    """Pages in the WAL after the last checkpoint; the reader of the number sets it back to None."""
    is_complete: bool
    """Whether the last checkpoint copied every page."""

    def wake(self) -> None:
        """Start a checkpoint unless one runs."""


class Wal:
    """The WAL as the writer sees it. For the writer's thread only."""

    def __init__(self, database: Database, background: BackgroundCheckpoint) -> None:
        self._database = database
        self._background = background
        self.size = 0
        """Bytes of the WAL file at the last measurement; the part in use may be smaller."""
        self.written = 0
        """About how many bytes all processes have written since the WAL restarted."""
        self._woken_at = 0  # `written` when the last checkpoint started
        self._usual = database.wal_bytes
        self._folder = os.path.dirname(database.path)
        self.free = sys.maxsize
        """Free bytes of the disk at the last measurement."""
        self._measure_at = 0.0  # monotonic s
        self._reserve_bytes = reserve_bytes(database.options.max_bytes)
        self._seq = 0

    def measure(self) -> None:
        """Measure the WAL and the disk; call it inside a transaction, because other processes write the WAL too."""
        self.size = size_of(self._database.path + WAL_SUFFIX)
        now = time.monotonic()
        if now < self._measure_at:
            return
        self.free = free_bytes(self._folder)
        if not self.is_short_of_disk:
            self._measure_at = now + _MEASURE_SECONDS
        # A checkpoint may need as much space in the file as the pages have in the WAL.
        self._usual = min(self._database.wal_bytes, max(self._reserve_bytes // 2, self.free // _SHARE_OF_DISK))

    @property
    def is_short_of_disk(self) -> bool:
        """Whether the disk may fill up before the WAL reaches its bound."""
        return self.free < _NEARLY_FULL * self._database.wal_bytes

    @property
    def is_long(self) -> bool:
        """Whether the WAL was longer than 1.5 of its usual length at the last measurement."""
        return self.size > self._database.wal_bytes * 3 // 2

    def space_left(self, connection: sqlite3.Connection) -> int:
        """Return how many bytes the current transaction may still write to the WAL."""
        growth = self._growth(connection)
        file_bytes = size_of(self._database.path) + max(0, growth)
        space = int(_BOUND * self._database.options.max_bytes) - file_bytes - self.size - self._reserve_bytes
        space -= OVERHEAD_BYTES
        if self.is_short_of_disk:
            # A page needs space in the WAL and perhaps again in the file. Without both, no checkpoint could finish.
            space = min(space, (self.free - growth - self._reserve_bytes // 4) // 2)
        return space

    def shortfall(self, connection: sqlite3.Connection) -> int:
        """Return how many bytes the disk lacks for a complete checkpoint; zero or less if it has enough."""
        return self._growth(connection) - self.free

    def _growth(self, connection: sqlite3.Connection) -> int:
        """Return by how many bytes a complete checkpoint lengthens the file."""
        pages: int = connection.execute("PRAGMA page_count").fetchone()[0]
        return pages * PAGE_BYTES - size_of(self._database.path)

    def record(self, size: int, deleted_rows: int, key_bytes: int, seq: int) -> None:
        """Record a transaction of about `size` bytes, which logged `key_bytes` of changed keys up to `seq`."""
        # The change log counts the keys of all processes, so it shows the share of this process in the writes.
        share = max(1.0, (seq - self._seq) / key_bytes) if self._seq else 1.0
        self._seq = seq
        # Deleted rows are spread over the file, so nearly every one changes a page of its own.
        self.written += int(share * (size + PAGE_BYTES * (deleted_rows + _PAGES_PER_TRANSACTION)))

    def maintain(self, connection: sqlite3.Connection) -> None:
        """Start a background checkpoint or restart the WAL when its length calls for it. Outside a transaction."""
        pages, self._background.pages = self._background.pages, None
        if pages is not None:
            self.written = pages * PAGE_BYTES  # smaller than counted here if another process restarted the WAL
            self._woken_at = self.written
            if self.written >= self._usual:
                # The longer the WAL, the longer a wait is worth.
                patience = _SHORT_SECONDS * (1 + self.written // self._usual)
                truncate = self._usual < self._database.wal_bytes  # the disk is small, and the file may need the space
                self.restart(connection, min(LONG_SECONDS, patience), truncate=truncate)
        elif self.written >= max(self._woken_at + self._usual // _WAKE_SHARE, self._usual):
            self._woken_at = self.written
            self._background.wake()

    def restart(self, connection: sqlite3.Connection, patience: float, *, truncate: bool = False) -> bool:
        """Copy the rest of the WAL to the file, so that the WAL is written from its start; return whether it worked.

        Writers are locked out for up to `LONG_SECONDS` while pages are copied, and for up to `patience` seconds while
        readers still use the WAL. `truncate` returns the space of the WAL to the disk; overwriting it is cheaper, and
        SQLite cuts it to its usual length anyway. Raises `sqlite3.Error`.
        """
        connection.execute("BEGIN IMMEDIATE")
        try:
            before = connection.execute(_VERSION).fetchone()
            started = time.monotonic()
            while True:
                self._background.wake()
                spent = time.monotonic() - started
                copied = self._background.idle.wait(max(0.0, LONG_SECONDS - spent)) and self._background.is_complete
                if copied or spent >= patience:
                    break
                time.sleep(PAUSES[-1])  # a reader still uses pages that a checkpoint must not overwrite
        finally:
            connection.execute("ROLLBACK")
        # The next writer restarts the WAL unless a reader uses it. If another process has already written, the WAL
        # holds new pages, which must not be copied while writers are locked out.
        if not copied or connection.execute(_VERSION).fetchone() != before:
            return False
        connection.execute(f"PRAGMA busy_timeout = {round(patience * 1000)}")
        try:
            mode = "TRUNCATE" if truncate else "RESTART"
            (busy, *_) = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
        finally:
            connection.execute("PRAGMA busy_timeout = 0")
        if busy:
            return False
        self.written = self._woken_at = 0
        return True

    def preallocate(self, size: int) -> None:
        """Extend the WAL file to `size` bytes now, before other programs take the space; stops where the disk is full.

        SQLite takes zeros for no frames and overwrites them.
        """
        with contextlib.suppress(OSError), open(self._database.path + WAL_SUFFIX, "r+b", buffering=0) as file:
            missing = size - file.seek(0, os.SEEK_END)
            while missing > 0:
                missing -= file.write(bytes(min(missing, _PREALLOCATED_BYTES)))

    def truncate(self, connection: sqlite3.Connection) -> bool:
        """Copy all of the WAL however long that takes, and cut it off; return False if readers prevent it.

        Called before a write is refused, because a slow disk or a busy machine is no reason to refuse one.
        """
        self._background.idle.wait(_PATIENT_SECONDS)
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()  # copies most pages without a lock on writers
        (busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy
