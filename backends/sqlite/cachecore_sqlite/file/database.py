"""The file: making it, telling whose it is, opening connections to it, and moving it aside when it is damaged.

Whose a file is, is decided before SQLite may write to it. What is not ours, or from a newer version, is refused and
left as it is. What is ours and damaged is moved aside under a name that is logged, and the cache goes on empty.
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

from cachecore_sqlite.file import open_files as opened
from cachecore_sqlite.file import schema, wal
from cachecore_sqlite.file.errors import FileRefused, Moved, code, damaged, full, is_damage, overtaken
from cachecore_sqlite.file.open_files import LOG, Files, Inode, inode_of
from cachecore_sqlite.file.ownership import free_bytes, size_of, whose
from cachecore_sqlite.options import MEMORY, SQLiteOptions

try:
    import fcntl
except ImportError:  # Windows: two processes that open a new file in the same instant are not kept apart
    fcntl = None  # type: ignore[assignment]

_LOG: Final = logging.getLogger(__name__)
_SYNCHRONOUS: Final = {"process": "OFF", "file": "NORMAL", "power": "FULL"}
_MAKING_SECONDS: Final = 0.5  # a new file is written through to the disk; who finds it being made waits for that
_NEW_SECONDS: Final = 5.0
_ATTEMPT_SECONDS: Final = 0.001
_OPENINGS: Final = 3  # of a file that is replaced meanwhile
_LOG_BYTES: Final = 64 * 1024 * 1024

Frozen = tuple[int, int, int, int]


class Database:
    """One file, for all threads of this process. Every call may wait for the disk, so none belongs on an event loop."""

    def __init__(self, path: str, options: SQLiteOptions) -> None:
        self.path = path
        self.options = options
        self.log_bytes = min(_LOG_BYTES, options.max_bytes // 16)
        """About how long the write-ahead log gets before it is moved into the file."""
        self._lock = threading.Lock()
        self.is_unchecked = False
        """Whether the file was opened, and nobody here has looked at it as a whole yet."""
        self._known: Inode | None = None  # guarded by _lock; the file whose owner and schema have been checked

    def connect(self) -> tuple[sqlite3.Connection, Files | None]:
        """Return a connection to the file and what it is to (None in memory), making the file first if it is absent.

        Raises:
            FileRefused: it is somebody else's, or of a newer version.
            sqlite3.Error, OSError: it cannot be opened now.
        """
        if self.path == MEMORY:
            return self._memory(), None
        try:
            return self._connect()
        except sqlite3.OperationalError as error:
            if code(error) == sqlite3.SQLITE_CANTOPEN and not os.access(os.path.dirname(self.path), os.W_OK):
                error.sqlite_errorcode = sqlite3.SQLITE_READONLY_DIRECTORY
            raise

    def _connect(self) -> tuple[sqlite3.Connection, Files | None]:
        limit = time.monotonic() + (
            max(self.options.timeout, _MAKING_SECONDS) if self._may_be_new() else self.options.timeout
        )
        for _ in range(_OPENINGS):
            known: Inode | None = None
            try:
                known = self._sound(limit)
                opened.check_log(self.path, known)
                connection = self._connected(known)
            except Moved:
                continue
            except sqlite3.Error as error:
                if overtaken(error):
                    continue  # what was to be removed beside a new file, a connection to the old one has removed
                if known is None or inode_of(self.path) == known:
                    raise
                continue  # moved aside by another thread, perhaps, that has found it damaged
            files = opened.files_of(self.path, known)
            if inode_of(self.path) == known:
                opened.ready(files)
                return connection, files
            connection.close()
            opened.disconnected(known)
        raise Moved(f"{self.path} was replaced while it was being opened")

    def _sound(self, limit: float) -> Inode:
        """Return the identity of the file at the path, which is ours and sound."""
        with self._lock:
            if self._known is None or not opened.is_connected(self._known) or self._known != inode_of(self.path):
                with _folder_locked(os.path.dirname(self.path), limit):
                    self._known = self._prepare()
            return self._known

    def _connected(self, inode: Inode) -> sqlite3.Connection:
        # Counted before it is opened: who thinks that there is none reads the index of the log, and to close that gives
        # up this one's locks on it. The next process would take itself for the first and cut it off under our eyes.
        opened.connected(inode)
        try:
            return self._open("rw", inode)
        except BaseException:  # whatever it was, there is no connection to count
            opened.disconnected(inode)
            raise

    def _may_be_new(self) -> bool:
        """Tell whether somebody may be making the file now."""
        try:
            return time.time() - os.stat(self.path).st_mtime < _NEW_SECONDS
        except OSError:
            return True

    def doubt(self) -> None:
        """Look at whose the file is, and of which version, when it is opened next."""
        with self._lock:
            self._known = None

    def disconnect(self, connection: sqlite3.Connection, files: Files | None) -> None:
        """Close what `connect` returned."""
        if files is not None:
            opened.closing(files.database)
        connection.close()
        if files is not None:
            opened.disconnected(files.database)

    def is_current(self, files: Files) -> bool:
        """Tell whether the file that a connection is to is the one at the path.

        If it is not, its log is not left for the other, as long as the connection is open. Raises `LogDeleted`, and
        `sqlite3.OperationalError` while another process is busy with the files.
        """
        if opened.is_at(self.path, files):
            return True
        with _folder_locked(os.path.dirname(self.path), time.monotonic() + self.options.timeout):
            self._remove_log_of_another()
        return False

    def connect_frozen(self) -> tuple[sqlite3.Connection, Frozen] | None:
        """Return a connection that reads the file without writing anything near it, or None if that is not safe.

        SQLite needs files of its own beside the database even for reading; on a full disk or in a read-only folder it
        cannot make them. What is read is right if `frozen()` says the same after as before.
        """
        before = self.frozen()
        if before is None or whose(self.path) != "ours":
            return None
        uri = f"file:{quote(self.path)}?mode=ro&immutable=1"
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
        try:
            sound = schema.is_sound(connection)
        except (sqlite3.Error, UnicodeDecodeError):
            sound = False
        if not sound or self.frozen() != before:
            connection.close()
            return None
        return connection, before

    def frozen(self) -> Frozen | None:
        """Return what changes when anybody writes to the file; None if its log holds something."""
        if size_of(self.path + LOG):
            return None  # the file changes only through the log
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns

    def move_aside(self, files: Files | None, reason: str) -> None:
        """Look again at the file that SQLite found damaged, and move it away if it is ours and still at the path.

        `files` is None if it could not even be connected to.
        """
        if self.path == MEMORY:
            return
        with self._lock, _folder_locked(os.path.dirname(self.path), time.monotonic() + self.options.timeout):
            if inode_of(self.path) != (files.database if files else self._known):
                return  # somebody else has done it
            self._known = None
            if whose(self.path) in ("ours", "damaged"):
                self._rename(reason)

    @contextlib.contextmanager
    def last_words(self) -> Iterator[None]:
        """Keep other processes from closing the file at the same time, if that takes no long wait."""
        with contextlib.ExitStack() as stack:
            if self.path != MEMORY:
                with contextlib.suppress(sqlite3.Error, OSError):
                    limit = time.monotonic() + self.options.timeout
                    stack.enter_context(_folder_locked(os.path.dirname(self.path), limit))
            yield

    def _memory(self) -> sqlite3.Connection:
        connection = sqlite3.connect(MEMORY, isolation_level=None, check_same_thread=False)
        connection.execute(f"PRAGMA page_size = {schema.PAGE_BYTES}")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        schema.create(connection)
        return connection

    def _open(self, mode: Literal["rw", "rwc"], expected: Inode | None) -> sqlite3.Connection:
        # No busy handler: whoever waits for a lock does so with a deadline of its own.
        uri = f"file:{quote(self.path)}?mode={mode}"
        connection = sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            # Before it reads: to close what has read, be it once, moves the log at the path into a file that is there.
            if expected is not None and inode_of(self.path) != expected:
                raise Moved(f"{self.path} was replaced while it was being opened")
            connection.execute(f"PRAGMA synchronous = {_SYNCHRONOUS[self.options.durability]}")
            connection.execute("PRAGMA cell_size_check = ON")
            # What undoes a statement of many rows would be a file on the disk otherwise, a third of its time.
            connection.execute("PRAGMA temp_store = MEMORY")
            connection.execute("PRAGMA secure_delete = FAST")
            connection.execute(f"PRAGMA journal_size_limit = {self.log_bytes}")
            # A thread moves the log into the file, and no caller waits for that; this is for when it cannot.
            connection.execute(f"PRAGMA wal_autocheckpoint = {self.log_bytes * 4 // schema.PAGE_BYTES}")
            connection.execute("SELECT 1 FROM entries LIMIT 1").fetchone() if mode == "rw" else None
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self) -> Inode:
        """Leave a sound file of ours at the path and return its identity; the caller holds the folder's lock."""
        self._remove_log_of_another()
        for _ in range(2):
            owner = whose(self.path)
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
        raise Moved(f"{self.path} does not stay where it is")

    def _create_or_check(self) -> None:
        found = inode_of(self.path)
        if found is None:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            self._remove_logs()  # they belong to nobody
        # With a connection of this process open, the log is in use, and was found sound when that was opened.
        committed = opened.unless_connected(found, self._left_alone)
        self.is_unchecked = True
        with contextlib.closing(self._open("rwc", found)) as connection:
            if schema.is_empty(connection):
                # With a rollback journal the schema is in the file itself once it is committed, never in the log alone:
                # whose the file is can then be told from its first page.
                connection.execute(f"PRAGMA page_size = {schema.PAGE_BYTES}")
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
                connection.execute("BEGIN EXCLUSIVE")
                schema.create(connection)
                connection.execute("COMMIT")
            self._refuse_newer(schema.version(connection))
            if committed is not None and committed.frames:
                with contextlib.closing(self._open("rw", found)) as second:
                    if wal.lost_writes(self.path, committed, connection, second):
                        raise damaged("acknowledged writes are missing from the log")
            self._migrate(connection)
            if not schema.is_sound(connection):
                raise damaged("the tables are not those of this version")
            self._check_writable(connection)
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            if mode != "wal":
                raise OSError(f"{self.path} is on a file system without shared memory; SQLite cannot share it safely")

    def _remove_log_of_another(self) -> None:
        """See that a file put in the place of one that is open does not get its log.

        Whosever the new file is: the log is ours. The caller holds the folder's lock.
        """
        found = inode_of(self.path)
        if found is not None and opened.is_log_of_another(self.path, found):
            self._remove_logs()

    def _remove_logs(self) -> None:
        """Keep SQLite from applying them to another database, and from sharing them with those who hold them."""
        for suffix in (LOG, "-shm", "-journal"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path + suffix)

    def _left_alone(self) -> wal.Committed | None:
        """Return what was committed to the log, None if another process has the file open.

        It has found the log sound then, and to look again would keep it from writing for long.
        """
        return None if wal.is_open(self.path) else wal.committed(self.path)

    def _migrate(self, connection: sqlite3.Connection) -> None:
        """Bring the tables of an older version up to this one, all or nothing."""
        if schema.version(connection) in (schema.VERSION, None):
            return
        # All is written once more, to the log and then to the file. Better not to begin than to fill the disk in vain.
        if free_bytes(os.path.dirname(self.path)) < 2 * size_of(self.path):
            raise full(f"{self.path} is of an older version, and the disk has no room to bring it up to date")
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
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()  # so that its first page tells it, too

    def _refuse_newer(self, stored: int | None) -> None:
        if stored is not None and stored > schema.VERSION:  # so far it stands in the log only
            raise FileRefused("open", self.path, "newer")

    def _check_writable(self, connection: sqlite3.Connection) -> None:
        try:
            connection.execute("DELETE FROM changes WHERE seq < 0")  # there is none; nothing is written
        except sqlite3.OperationalError as error:
            # A flipped bit in the format number makes SQLite take the file for one of the future, to be read only.
            allowed = os.access(self.path, os.W_OK) and os.access(os.path.dirname(self.path), os.W_OK)
            if error.sqlite_errorcode == sqlite3.SQLITE_READONLY and allowed:
                raise damaged("the file says that it may not be written") from error

    def _rename(self, reason: str) -> None:
        aside = f"{self.path}.damaged-{time.time_ns()}"
        for old in _asides(self.path):
            os.unlink(old)  # one is enough to look into; more would fill the disk
        os.rename(self.path, aside)
        for suffix in ("-wal", "-journal"):
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


@contextlib.contextmanager
def _folder_locked(folder: str, limit: float) -> Iterator[None]:
    """Keep other processes from making or moving files of ours in `folder`.

    The folder itself is locked, so that no lock file is left behind. Raises `sqlite3.OperationalError` (busy) at
    `limit` (monotonic s).
    """
    os.makedirs(folder, exist_ok=True)
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= limit:
                    busy = sqlite3.OperationalError("another process is making or moving the file")
                    busy.sqlite_errorcode = sqlite3.SQLITE_BUSY
                    raise busy from error
                time.sleep(_ATTEMPT_SECONDS)
        yield
    finally:
        os.close(handle)
