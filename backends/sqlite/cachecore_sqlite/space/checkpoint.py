"""The write-ahead log: what moves it into the file, and how long it may get.

A thread of its own moves the log into the file while others read and write. It never gets to the end of it, and the log
can begin anew only when all of it has been moved; so the writer keeps everybody from writing for the last, little part.

Readers do not hinder that for ever: whoever begins to read when all of the log is in the file reads the file alone, so
the log can begin anew as soon as those have ended that began before. But nobody can tell how long the disk takes, or a
reader: writers are kept out for some milliseconds at most, and if that was not enough, they go on and it is tried again
later. Until then the log grows, up to the bound, where what would add to it is refused.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
import threading
import time
from collections import deque
from queue import SimpleQueue
from typing import Final

from cachecore.contract.clock import Clock
from cachecore.contract.errors import BackendError
from cachecore_sqlite.file import schema
from cachecore_sqlite.file.database import Database
from cachecore_sqlite.file.errors import StoreError, is_busy
from cachecore_sqlite.file.ownership import free_bytes, size_of
from cachecore_sqlite.file.schema import PAGE_BYTES
from cachecore_sqlite.space.reserve import reserve_bytes
from cachecore_sqlite.worker import PAUSES, Job, Worker

_BOUND: Final = 1.3  # of `max_bytes`: the file, its log and the reserve
_PASSES: Final = 3
_LITTLE_PAGES: Final = 512
_STEPS: Final = 16  # of the log's usual length: how much longer it gets between two attempts
_NEARLY_FULL: Final = 4  # times the log's usual length that the disk has left
_SHARE_OF_DISK: Final = 8  # the log gets no longer than one of so many parts of what the disk has left
_HELD_BYTES: Final = 64 * 1024  # at a time
_LOOK_SECONDS: Final = 0.02  # between two looks at a disk that has more
_PAGES_BESIDES: Final = 4  # that a transaction changes, be it ever so small
_PATIENT_SECONDS: Final = 1.0
_QUICK_SECONDS: Final = 0.008
_VERSION: Final = "PRAGMA data_version"  # changes when another process or thread has written
_SHORT_SECONDS: Final = 0.002
BESIDES_BYTES: Final = 16 * PAGE_BYTES
"""What the pages take, about, that a transaction changes to make room in the file; much in a small store only."""
LONG_SECONDS: Final = 0.01
"""How long writers of all processes may be kept out at a stretch: less than any of them waits for the lock."""


class Saver(Worker):
    """The thread that moves the log into the file, and looks at the file when it is new to it."""

    def __init__(self, database: Database, clock: Clock) -> None:
        super().__init__("saver", database, clock, SimpleQueue())
        self.idle = threading.Event()
        self.idle.set()
        self.pages: int | None = None
        """How long the log is, once what could be moved has been; whoever uses that sets it back."""
        self.all_moved = False

    def check(self) -> None:
        """Begin to look whether the file is in order, once for each opening; call it when nobody waits to open it."""
        if self.database.is_unchecked:
            self.database.is_unchecked = False
            self.jobs.put(Job("check", None, 0.0))

    def wake(self) -> None:
        """Begin to move the log into the file, unless that is going on."""
        if self.idle.is_set():
            self.idle.clear()
            self.jobs.put(Job("checkpoint", None, 0.0))

    def work(self, waiting: deque[Job]) -> None:
        """Move what there is, then what was written meanwhile, which is less each time; or look at the file."""
        checks = any(job.operation == "check" for job in waiting)
        moves = any(job.operation != "check" for job in waiting)
        waiting.clear()
        if checks:
            self._check()
        if moves:
            self._move()

    def _check(self) -> None:
        try:
            schema.check(self.connection())
        except (*StoreError, BackendError) as error:
            self.failed([], error)

    def _move(self) -> None:
        self.all_moved = False
        before = 0
        try:
            connection = self.connection()
            for passes in range(1, _PASSES + 1):
                begun = time.monotonic()
                busy, pages, moved = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                if busy:
                    break  # another process does it
                self.all_moved = moved == pages
                # Somebody reads the rest, or it is little; and the disk is not so busy that writers would wait in vain.
                little = not self.all_moved or pages - before <= _LITTLE_PAGES
                if passes == _PASSES or (little and time.monotonic() - begun < _QUICK_SECONDS):
                    self.pages = pages
                    break
                before = pages
        except (*StoreError, BackendError) as error:
            # Nothing acknowledged is lost: the log holds it. The writer meets the fault, if it stays.
            if not (isinstance(error, sqlite3.Error) and is_busy(error)):
                self.close()
        finally:
            self.idle.set()


class Log:
    """How long the log is, as the writer sees it, and when it has to begin anew."""

    def __init__(self, database: Database, saver: Saver) -> None:
        self._database = database
        self._saver = saver
        self.size = 0
        """Bytes on the disk when it was looked at; what was written since it began anew may be less."""
        self.written = 0
        """Bytes since it began anew, by all processes, about."""
        self._woken_at = 0  # how much of that there was when it was moved into the file last
        self._usual = database.log_bytes
        self._folder = os.path.dirname(database.path)
        self.free = sys.maxsize
        """Bytes that the disk had left when it was looked at."""
        self._look_at = 0.0  # monotonic s
        self._reserve_bytes = reserve_bytes(database.options.max_bytes)
        self._seq = 0

    def look(self) -> None:
        """See how long it is, within a transaction that has begun: other processes write to it, too."""
        self.size = size_of(self._database.path + "-wal")
        now = time.monotonic()
        if now < self._look_at:
            return
        self.free = free_bytes(self._folder)
        if not self.is_short_of_disk:
            self._look_at = now + _LOOK_SECONDS
        # The file may soon need what the log takes.
        self._usual = min(self._database.log_bytes, max(self._reserve_bytes // 2, self.free // _SHARE_OF_DISK))

    @property
    def is_short_of_disk(self) -> bool:
        """Whether the disk may be what is full first."""
        return self.free < _NEARLY_FULL * self._database.log_bytes

    @property
    def is_long(self) -> bool:
        """Whether it was longer than it should be when it was looked at."""
        return self.size > self._database.log_bytes * 3 // 2

    def room(self, connection: sqlite3.Connection) -> int:
        """Return how many bytes may still be written to it, within that transaction."""
        growth = self._growth(connection)
        file_bytes = size_of(self._database.path) + max(0, growth)
        room = int(_BOUND * self._database.options.max_bytes) - file_bytes - self.size - self._reserve_bytes
        room -= BESIDES_BYTES
        if self.is_short_of_disk:
            # It takes room in the log, and perhaps as much again in the file: if there is none, the log never ends.
            room = min(room, (self.free - growth - self._reserve_bytes // 4) // 2)
        return room

    def lacks(self, connection: sqlite3.Connection) -> int:
        """Return how many bytes more than the disk has left it makes the file longer by; not positive if it fits."""
        return self._growth(connection) - self.free

    def _growth(self, connection: sqlite3.Connection) -> int:
        """Return how many bytes longer the file gets when all of the log is moved into it."""
        pages: int = connection.execute("PRAGMA page_count").fetchone()[0]
        return pages * PAGE_BYTES - size_of(self._database.path)

    def wrote(self, size: int, gone: int, keys: int, seq: int) -> None:
        """Note a transaction of so many bytes, about, and of keys; the log of changes is at `seq` now."""
        # What others wrote since the last one is known by how many bytes of keys they logged.
        share = max(1.0, (seq - self._seq) / keys) if self._seq else 1.0
        self._seq = seq
        # What goes is found anywhere in the file, nearly each time on a page of its own.
        self.written += int(share * (size + PAGE_BYTES * (gone + _PAGES_BESIDES)))

    def tend(self, connection: sqlite3.Connection) -> None:
        """Have the log moved into the file, or begin it anew, if it is time. Outside of a transaction."""
        pages, self._saver.pages = self._saver.pages, None
        if pages is not None:
            self.written = pages * PAGE_BYTES  # another process may have begun it anew
            self._woken_at = self.written
            if self.written >= self._usual:
                # The longer it is, the more a wait is worth.
                patience = _SHORT_SECONDS * (1 + self.written // self._usual)
                cut = self._usual < self._database.log_bytes  # the file may need the room
                self.begin_anew(connection, min(LONG_SECONDS, patience), cut=cut)
        elif self.written >= max(self._woken_at + self._usual // _STEPS, self._usual):
            self._woken_at = self.written
            self._saver.wake()

    def begin_anew(self, connection: sqlite3.Connection, patience: float, *, cut: bool = False) -> bool:
        """Move the rest into the file and write the log from its beginning; tell whether that was possible.

        Writers are kept out for up to `LONG_SECONDS` while the disk is at work, and for up to `patience` seconds until
        all have ended that read from the log. If `cut`, it is made shorter on the disk; to write over what there is
        costs less, and it is cut to its usual length anyway. Raises `sqlite3.Error`.
        """
        connection.execute("BEGIN IMMEDIATE")
        try:
            before = connection.execute(_VERSION).fetchone()
            begun = time.monotonic()
            while True:
                self._saver.wake()
                spent = time.monotonic() - begun
                moved = self._saver.idle.wait(max(0.0, LONG_SECONDS - spent)) and self._saver.all_moved
                if moved or spent >= patience:
                    break
                time.sleep(PAUSES[-1])  # somebody reads what is to be moved
        finally:
            connection.execute("ROLLBACK")
        # Whoever writes first now begins it anew by that, unless somebody reads from it. If another process was first,
        # there is something in it again, which is not to be moved while writers are kept out.
        if not moved or connection.execute(_VERSION).fetchone() != before:
            return False
        connection.execute(f"PRAGMA busy_timeout = {round(patience * 1000)}")
        try:
            mode = "TRUNCATE" if cut else "RESTART"
            (busy, *_) = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
        finally:
            connection.execute("PRAGMA busy_timeout = 0")
        if busy:
            return False
        self.written = self._woken_at = 0
        return True

    def hold(self, size: int) -> None:
        """Take up to `size` bytes of the disk for the log now, so that nobody else does, if there is as much.

        Frames of zeros are no frames to SQLite, which writes over them.
        """
        with contextlib.suppress(OSError), open(self._database.path + "-wal", "r+b", buffering=0) as file:
            missing = size - file.seek(0, os.SEEK_END)
            while missing > 0:
                missing -= file.write(bytes(min(missing, _HELD_BYTES)))

    def empty(self, connection: sqlite3.Connection) -> bool:
        """Move all of it into the file however long that takes, and cut it off; tell whether readers let that be.

        The last resort before a write is refused, which the disk or a busy machine must not be the reason for.
        """
        self._saver.idle.wait(_PATIENT_SECONDS)
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()  # most of it, while others may write
        (busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy
