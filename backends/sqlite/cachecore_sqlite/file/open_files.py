"""The database files that this process has open, and the WAL of each.

POSIX releases all locks of a process on a file when the process closes any handle of it, SQLite's locks too. So a file
with an open connection is not read directly, or its handle stays open as long as the connection.

SQLite applies any WAL that lies beside a database. A database without its WAL goes back in time; a database that
replaced another one gets the other's pages. A process with an open connection recognizes the WAL by its inode, which no
other file has meanwhile.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar

from cachecore.contract.forks import in_child
from cachecore_sqlite.file.errors import WalDeleted

T = TypeVar("T")
Inode = tuple[int, int]
WAL_SUFFIX: Final = "-wal"
_FLAGS: Final = os.O_RDONLY | getattr(os, "O_BINARY", 0)  # Windows would translate line ends otherwise

_lock = threading.Lock()
_connected: Counter[Inode] = Counter()  # guarded by _lock; connections of this process
_ready: Counter[Inode] = Counter()  # guarded by _lock; the connections that are neither being opened nor being closed
_wals: dict[Inode, Inode | None] = {}  # guarded by _lock; the WAL of each database in _ready
_kept: dict[Inode, list[int]] = {}  # guarded by _lock; handles that must not be closed before the connections


class Files(NamedTuple):
    """The files of a connection, by inode."""

    database: Inode
    wal: Inode | None


def inode_of(path: str) -> Inode | None:
    """Return the device and inode of the file at `path`, None if there is no file."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def add_connection(inode: Inode) -> None:
    """Count a connection; call it before the connection is opened."""
    with _lock:
        _connected[inode] += 1


def remove_connection(inode: Inode) -> None:
    """Uncount a closed connection. After the last one, another file may get the same inode."""
    with _lock:
        _connected[inode] -= 1
        if not _connected[inode]:
            del _connected[inode]
            for handle in _kept.pop(inode, ()):
                os.close(handle)


def has_connections(inode: Inode) -> bool:
    """Tell whether this process has connections to the database."""
    with _lock:
        return inode in _connected


def unless_connected(inode: Inode | None, read: Callable[[], T]) -> T | None:
    """Return `read()`, or None if this process has connections to the file. No connection is opened meanwhile."""
    with _lock:
        return None if inode in _connected else read()


def mark_ready(files: Files) -> None:
    """Record the files of a connection that is now open."""
    with _lock:
        _ready[files.database] += 1
        _wals[files.database] = files.wal


def mark_closing(inode: Inode) -> None:
    """Record that a connection is about to close. SQLite deletes the WAL with the last connection of all processes."""
    with _lock:
        _ready[inode] -= 1
        if not _ready[inode]:
            del _ready[inode]
            del _wals[inode]


def identify(path: str, inode: Inode) -> Files:
    """Return the files of a connection to the database `inode` at `path`."""
    return Files(inode, inode_of(path + WAL_SUFFIX))


def has_foreign_wal(path: str, inode: Inode) -> bool:
    """Tell whether the WAL beside `path` belongs to an open database other than `inode`."""
    with _lock:
        wal = inode_of(path + WAL_SUFFIX)
        return wal is not None and any(known == wal and owner != inode for owner, known in _wals.items())


def is_current(path: str, files: Files) -> bool:
    """Tell whether the database of `files` is at `path`. Raises `WalDeleted` if it is there without its WAL.

    The writes of other processes are in another WAL then, or lost: deleted answers could come back.
    """
    if inode_of(path) != files.database:
        return False
    if inode_of(path + WAL_SUFFIX) == files.wal:
        return True
    if inode_of(path) != files.database:  # both files were moved between the looks
        return False
    raise WalDeleted("its log was deleted while it was open")


def check_wal(path: str, inode: Inode) -> None:
    """Check that the WAL beside `path` is the one of the connections of this process. Raises as `is_current` does."""
    with _lock:  # no connection is closed meanwhile, which would delete the WAL
        if inode in _wals:
            is_current(path, Files(inode, _wals[inode]))


def read_start(path: str, size: int) -> bytes:
    """Return the first `size` bytes of the file, or all of a shorter one."""
    with _lock:
        handle = os.open(path, _FLAGS)
        try:
            found = os.fstat(handle)
            return os.read(handle, size)
        finally:
            inode = found.st_dev, found.st_ino
            if inode in _connected:
                _kept.setdefault(inode, []).append(handle)
            else:
                os.close(handle)


def _forget_all() -> None:
    """Forget the parent's connections in a child process; their locks are the parent's too."""
    global _lock  # a thread of the parent, absent in the child, may hold it
    _lock = threading.Lock()
    for account in (_connected, _ready, _wals, _kept):
        account.clear()


in_child(_forget_all)
