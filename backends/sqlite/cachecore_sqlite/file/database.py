"""The database file: creating it, opening connections to it, and moving it aside when it is damaged.

Ownership is decided before SQLite may write. A file of another program or of a newer version is refused and not
changed. A damaged cache file is moved aside under a logged name, and the cache continues empty.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from typing import Final, Literal
from urllib.parse import quote

from cachecore_sqlite.file import open_files, schema, wal
from cachecore_sqlite.file.durability import start_wal, synchronous
from cachecore_sqlite.file.errors import (
    FileRefused,
    Moved,
    code,
    corrupt_error,
    full_error,
    is_already_deleted,
    is_busy,
    is_damage,
)
from cachecore_sqlite.file.locks import folder_locked
from cachecore_sqlite.file.open_files import WAL_SUFFIX, Files, Inode, inode_of
from cachecore_sqlite.file.ownership import free_bytes, ownership, size_of
from cachecore_sqlite.options import MEMORY, SQLiteOptions

_LOG: Final = logging.getLogger(__name__)
_CONNECT_SECONDS: Final = 1.0  # creating a file waits for the disk, and other processes wait for its creator
_OPENINGS: Final = 3  # attempts, where the file is replaced during the opening
_WAL_BYTES: Final = 64 * 1024 * 1024

Fingerprint = tuple[int, int, int, int]


class Database:
    """One file, for all threads of this process. Every call may wait for the disk; do not call from an event loop."""

    def __init__(self, path: str, options: SQLiteOptions) -> None:
        self.path = path
        self.options = options
        self.wal_bytes = min(_WAL_BYTES, options.max_bytes // 16)
        """Usual length of the WAL; a longer one is checkpointed and restarted."""
        self._lock = threading.Lock()
        self.connect_seconds = _CONNECT_SECONDS
        """How long opening or creating the file may wait for other processes that do the same."""
        self.is_unchecked = False
        """Whether the file was opened and its index has not been checked yet."""
        self._made = False  # whether it was there once; guarded by _lock
        self._known: Inode | None = None  # guarded by _lock; the file with checked ownership and schema

    def connect(self, *, writes: bool = True) -> tuple[sqlite3.Connection, Files | None]:
        """Return a connection and its files (None in memory); an absent database file is created.

        So is an absent folder, the first time; one that was removed since is created only if the connection `writes`.
        While other processes open, make or close the file, it waits up to `connect_seconds` for them.

        Raises:
            FolderRemovedError: the folder was removed, and is not to be created.
            FileRefused: the file belongs to another program or to a newer version.
            sqlite3.Error, OSError: the file cannot be opened now.
        """
        if self.path == MEMORY:
            return self._memory(), None
        try:
            return self._connect(writes)
        except sqlite3.OperationalError as error:
            if code(error) == sqlite3.SQLITE_CANTOPEN and not os.access(os.path.dirname(self.path), os.W_OK):
                error.sqlite_errorcode = sqlite3.SQLITE_READONLY_DIRECTORY
            raise

    def _connect(self, writes: bool) -> tuple[sqlite3.Connection, Files | None]:
        limit = time.monotonic() + max(self.options.timeout, self.connect_seconds)
        for _ in range(_OPENINGS):
            known: Inode | None = None
            try:
                known = self._checked_inode(limit, writes)
                open_files.check_wal(self.path, known)
                connection = self._open_in_turn(known, limit)
            except Moved:
                continue
            except sqlite3.Error as error:
                if is_already_deleted(error):
                    continue  # a connection to the old file deleted its logs at the same moment
                if known is None or inode_of(self.path) == known:
                    raise
                continue  # perhaps another thread found the file damaged and moved it aside
            files = open_files.identify(self.path, known)
            if inode_of(self.path) == known:
                open_files.mark_ready(files)
                if writes:
                    start_wal(connection, self.path, self.options.durability)
                return connection, files
            connection.close()
            open_files.remove_connection(known)
        raise Moved(f"{self.path} was replaced while it was being opened")

    def _checked_inode(self, limit: float, writes: bool) -> Inode:
        """Return the inode of the file at the path, after checking ownership and schema; create the file if absent."""
        with self._lock:
            if self._known is None or not open_files.has_connections(self._known) or self._known != inode_of(self.path):
                with folder_locked(os.path.dirname(self.path), limit, make=writes or not self._made):
                    self._check_wal()
                    self._known = self._prepare()
                    self._made = True
            return self._known

    def _check_wal(self) -> None:
        """Raise `WalDeleted` if another `Database` of this process has the file open, and its WAL is gone."""
        found = inode_of(self.path)
        if found is not None:
            open_files.check_wal(self.path, found)

    def _open_in_turn(self, inode: Inode, limit: float) -> sqlite3.Connection:
        """Open the file; if it is busy, wait for the lock of its folder first.

        The process that makes the file, or that closes it last, holds that lock and keeps others out meanwhile.
        """
        try:
            return self._open_counted(inode)
        except sqlite3.Error as error:
            if not is_busy(error):
                raise
        with folder_locked(os.path.dirname(self.path), limit, make=False):
            return self._open_counted(inode)

    def _open_counted(self, inode: Inode) -> sqlite3.Connection:
        # Counted before it is opened. If a thread took the count for zero, it would read the WAL index, and closing
        # that releases this connection's locks. The next process would take itself for the first and cut the index off.
        open_files.add_connection(inode)
        try:
            return self._open("rw", inode)
        except BaseException:  # after any exception the connection does not exist
            open_files.remove_connection(inode)
            raise

    def recheck(self) -> None:
        """Check ownership and schema again when the file is opened next."""
        with self._lock:
            self._known = None

    def disconnect(self, connection: sqlite3.Connection, files: Files | None) -> None:
        """Close a connection of `connect`."""
        if files is not None:
            open_files.mark_closing(files.database)
        connection.close()
        if files is not None:
            open_files.remove_connection(files.database)

    def is_current(self, files: Files) -> bool:
        """Tell whether the database of `files` is still at the path.

        If another one is, the WAL beside it is deleted, because it belongs to the open database. Raises `WalDeleted`,
        and `sqlite3.OperationalError` while another process creates or moves files.
        """
        if open_files.is_current(self.path, files):
            return True
        with contextlib.suppress(FileNotFoundError), self._folder_locked():
            self._remove_foreign_wal()
        return False

    def connect_immutable(self) -> tuple[sqlite3.Connection, Fingerprint] | None:
        """Return a connection that neither locks nor writes, and the file's fingerprint; None if that is not safe.

        Even for reading, SQLite creates files beside the database, which a full disk or a read-only folder prevents. A
        value that was read is right if `fingerprint()` is the same afterwards.
        """
        before = self.fingerprint()
        if before is None or ownership(self.path) != "ours":
            return None
        uri = f"file:{quote(self.path)}?mode=ro&immutable=1"
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
        try:
            sound = schema.is_sound(connection)
        except (sqlite3.Error, UnicodeDecodeError):
            sound = False
        if not sound or self.fingerprint() != before:
            connection.close()
            return None
        return connection, before

    def fingerprint(self) -> Fingerprint | None:
        """Return device, inode, size and mtime, which each write to the file changes; None if the WAL holds pages."""
        if size_of(self.path + WAL_SUFFIX):
            return None  # writes change the WAL, not the file
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns

    def move_aside(self, files: Files | None, reason: str) -> None:
        """Move the file aside after SQLite found it damaged, if it is a cache and still at the path.

        `files` is None if the connection could not be opened.
        """
        if self.path == MEMORY:
            return
        with self._lock, self._folder_locked():
            if inode_of(self.path) != (files.database if files else self._known):
                return  # another thread or process has moved it
            self._known = None
            if ownership(self.path) in ("ours", "damaged"):
                self._rename(reason)

    @contextlib.contextmanager
    def exclusive_close(self) -> Iterator[None]:
        """Keep other processes from closing connections in this context, to any database of the folder.

        Without effect if the lock is not free in time.
        """
        with contextlib.ExitStack() as stack:
            if self.path != MEMORY:
                with contextlib.suppress(sqlite3.Error, OSError):
                    stack.enter_context(self._folder_locked())
            yield

    def _folder_locked(self) -> contextlib.AbstractContextManager[None]:
        """Hold the lock of the folder that is there. Raises FileNotFoundError if it is not."""
        limit = time.monotonic() + self.options.timeout
        return folder_locked(os.path.dirname(self.path), limit, make=False)

    def empty(self) -> sqlite3.Connection:
        """Return a connection to an empty database in memory, which answers reads while the folder is gone."""
        return self._memory()

    def _memory(self) -> sqlite3.Connection:
        connection = sqlite3.connect(MEMORY, isolation_level=None, check_same_thread=False)
        connection.execute(f"PRAGMA page_size = {schema.PAGE_BYTES}")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        schema.create(connection)
        return connection

    def _open(self, mode: Literal["rw", "rwc"], expected: Inode | None) -> sqlite3.Connection:
        # No busy handler: each caller waits for locks with a deadline of its own.
        uri = f"file:{quote(self.path)}?mode={mode}"
        connection = sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            # Checked before the connection reads: closing a connection that has read copies the WAL at the path into
            # the file.
            if expected is not None and inode_of(self.path) != expected:
                raise Moved(f"{self.path} was replaced while it was being opened")
            connection.execute(synchronous(self.options.durability))
            connection.execute("PRAGMA cell_size_check = ON")
            # The statement journal of many rows would be a file otherwise, a third of the statement's time.
            connection.execute("PRAGMA temp_store = MEMORY")
            connection.execute("PRAGMA secure_delete = FAST")
            connection.execute(f"PRAGMA journal_size_limit = {self.wal_bytes}")
            # The checkpointer checkpoints without delaying a caller; SQLite does it if that thread cannot.
            connection.execute(f"PRAGMA wal_autocheckpoint = {self.wal_bytes * 4 // schema.PAGE_BYTES}")
            connection.execute("SELECT 1 FROM entries LIMIT 1").fetchone() if mode == "rw" else None
        except BaseException:  # also a cancelled or interrupted opening leaves no file open
            connection.close()
            raise
        return connection

    def _prepare(self) -> Inode:
        """Create or check the file at the path and return its inode; the caller holds the folder's lock."""
        self._remove_foreign_wal()
        for _ in range(2):
            owner = ownership(self.path)
            if owner in ("foreign", "newer"):
                raise FileRefused("open", self.path, owner)
            if owner == "damaged":
                self._rename("its first page is not readable")
            try:
                self._create_or_check()
            except (sqlite3.Error, UnicodeDecodeError) as error:
                if not is_damage(error):
                    raise
                self._rename(str(error))
                continue
            found = inode_of(self.path)
            if found is not None:
                return found
        raise Moved(f"{self.path} is replaced again and again")

    def _create_or_check(self) -> None:
        found = inode_of(self.path)
        if found is None:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            self._remove_logs()  # logs without a database
        # With an open connection of this process the WAL is in use, and was checked when that was opened.
        committed = open_files.unless_connected(found, self._read_committed)
        self.is_unchecked = True
        with contextlib.closing(self._open("rwc", found)) as connection:
            if schema.is_empty(connection):
                if self.options.durability == "file":
                    # Nine waits for the disk otherwise, and a caller waits too. A power cut costs late writes anyway.
                    connection.execute(synchronous("process"))
                # A rollback journal commits the schema to the file itself, not to the WAL alone, so that the first page
                # shows the ownership.
                connection.execute(f"PRAGMA page_size = {schema.PAGE_BYTES}")
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
                connection.execute("BEGIN EXCLUSIVE")
                schema.create(connection)
                connection.execute("COMMIT")
            self._refuse_newer(schema.version(connection))
            if committed is not None and committed.frames:
                with contextlib.closing(self._open("rw", found)) as second:
                    if wal.lost_writes(self.path, committed, connection, second):
                        raise corrupt_error("acknowledged writes are missing from the log")
            self._migrate(connection)
            if not schema.is_sound(connection):
                raise corrupt_error("the tables are not those of this version")
            self._check_writable(connection)
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            if mode != "wal":
                raise OSError(f"{self.path} is on a file system without shared memory; SQLite cannot share it safely")

    def _remove_foreign_wal(self) -> None:
        """Delete the WAL of an open database beside the file that replaced it.

        The caller holds the folder's lock.
        """
        found = inode_of(self.path)
        if found is not None and open_files.has_foreign_wal(self.path, found):
            self._remove_logs()

    def _remove_logs(self) -> None:
        """Delete these logs, so that SQLite neither applies them to another database nor shares them."""
        for suffix in (WAL_SUFFIX, "-shm", "-journal"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path + suffix)

    def _read_committed(self) -> wal.Committed | None:
        """Return the committed frames of the WAL, None if another process has the file open.

        That process has checked the WAL, and a second check would block its writes for long.
        """
        return None if wal.is_open(self.path) else wal.read_committed(self.path)

    def _migrate(self, connection: sqlite3.Connection) -> None:
        """Migrate the tables of an older version in one transaction."""
        if schema.version(connection) in (schema.VERSION, None):
            return
        # A migration writes every row twice, to the WAL and to the file. It is not begun if it would fill the disk.
        if free_bytes(os.path.dirname(self.path)) < 2 * size_of(self.path):
            raise full_error(f"{self.path} is of an older version, and the disk has no space to migrate it")
        connection.execute("BEGIN IMMEDIATE")
        try:
            stored = schema.version(connection)
            self._refuse_newer(stored)
            if stored is not None:
                schema.migrate(connection, stored)
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        with contextlib.suppress(sqlite3.OperationalError):
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()  # the first page must show the version

    def _refuse_newer(self, stored: int | None) -> None:
        if stored is not None and stored > schema.VERSION:  # only the WAL shows the version so far
            raise FileRefused("open", self.path, "newer")

    def _check_writable(self, connection: sqlite3.Connection) -> None:
        try:
            connection.execute("DELETE FROM changes WHERE seq < 0")  # no such row; nothing is written
        except sqlite3.OperationalError as error:
            # With a flipped bit in the format number, SQLite takes the file for a read-only one of a future version.
            allowed = os.access(self.path, os.W_OK) and os.access(os.path.dirname(self.path), os.W_OK)
            if error.sqlite_errorcode == sqlite3.SQLITE_READONLY and allowed:
                raise corrupt_error("its format number forbids writing") from error

    def _rename(self, reason: str) -> None:
        aside = f"{self.path}.damaged-{time.time_ns()}"
        for old in _asides(self.path):
            os.unlink(old)  # one is kept for inspection; more would fill the disk
        os.rename(self.path, aside)
        for suffix in (WAL_SUFFIX, "-journal"):
            with contextlib.suppress(FileNotFoundError):
                os.rename(self.path + suffix, aside + suffix)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path + "-shm")
        _LOG.warning(
            "the cache file %s is damaged (%s); it is now %s, and the cache is empty", self.path, reason, aside
        )


def _asides(path: str) -> list[str]:
    folder, start = os.path.dirname(path), os.path.basename(path) + ".damaged-"
    return [os.path.join(folder, name) for name in os.listdir(folder) if name.startswith(start)]
