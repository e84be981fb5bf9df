"""The files that this process has open, and whose log lies at a path.

Closing any handle of a file gives up all locks that the process holds on it (POSIX), SQLite's too; so what is open is
not looked into, or the handle is kept.

SQLite applies whatever log it finds beside a database. One whose log was deleted is taken back in time; one that was
put in the place of another gets the other's pages. Who has the database open knows its log by the inode, which no other
file gets meanwhile.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar

from cachecore_sqlite.file.errors import LogDeleted

T = TypeVar("T")
Inode = tuple[int, int]
LOG: Final = "-wal"

_lock = threading.Lock()
_connected: Counter[Inode] = Counter()  # guarded by _lock; connections of this process
_at_work: Counter[Inode] = Counter()  # guarded by _lock; those of them that are neither being opened nor closed
_logs: dict[Inode, Inode | None] = {}  # guarded by _lock; the log of each database that has such a connection
_kept: dict[Inode, list[int]] = {}  # guarded by _lock; files read here that must not be closed yet


class Files(NamedTuple):
    """What a connection is to: a database and its log, told from any others."""

    database: Inode
    log: Inode | None


def inode_of(path: str) -> Inode | None:
    """Return what tells the file at `path` from any other, None if there is none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def connected(inode: Inode) -> None:
    """Note a connection of this process to a database, before it is opened."""
    with _lock:
        _connected[inode] += 1


def disconnected(inode: Inode) -> None:
    """Note that it was closed; after the last one, another file may get the same identity."""
    with _lock:
        _connected[inode] -= 1
        if not _connected[inode]:
            del _connected[inode]
            for handle in _kept.pop(inode, ()):
                os.close(handle)


def is_connected(inode: Inode) -> bool:
    """Tell whether this process has connections to the database."""
    with _lock:
        return inode in _connected


def unless_connected(inode: Inode | None, read: Callable[[], T]) -> T | None:
    """Return what `read` returns, None if this process has connections to the file; none is opened meanwhile."""
    with _lock:
        return None if inode in _connected else read()


def ready(files: Files) -> None:
    """Note that a connection is open, to which database and which log."""
    with _lock:
        _at_work[files.database] += 1
        _logs[files.database] = files.log


def closing(inode: Inode) -> None:
    """Note that a connection is about to be closed. With the last one of all processes SQLite deletes the log."""
    with _lock:
        _at_work[inode] -= 1
        if not _at_work[inode]:
            del _at_work[inode]
            del _logs[inode]


def files_of(path: str, inode: Inode) -> Files:
    """Return what tells the database with this identity and the log at `path` from any others."""
    return Files(inode, inode_of(path + LOG))


def is_log_of_another(path: str, inode: Inode) -> bool:
    """Tell whether the log at `path` is of another database that is open than the one with this identity."""
    with _lock:
        log = inode_of(path + LOG)
        return log is not None and any(known == log and owner != inode for owner, known in _logs.items())


def is_at(path: str, files: Files) -> bool:
    """Tell whether that database is at `path`. Raises `LogDeleted` if it is, and its log is not.

    What others have written is in another log then, or nowhere: deleted answers may come back.
    """
    if inode_of(path) != files.database:
        return False
    if inode_of(path + LOG) == files.log:
        return True
    if inode_of(path) != files.database:  # both were moved, one after the other
        return False
    raise LogDeleted("its log was deleted while it was open")


def check_log(path: str, inode: Inode) -> None:
    """Look whether the log is still that of the connections that there are. Raises as `is_at` does."""
    with _lock:  # so that none of them begins to be closed meanwhile
        if inode in _logs:
            is_at(path, Files(inode, _logs[inode]))


def beginning(path: str, size: int) -> bytes:
    """Return the first bytes of the file, up to `size`."""
    with _lock:
        handle = os.open(path, os.O_RDONLY)
        try:
            found = os.fstat(handle)
            return os.pread(handle, size, 0)
        finally:
            inode = found.st_dev, found.st_ino
            if inode in _connected:
                _kept.setdefault(inode, []).append(handle)
            else:
                os.close(handle)


def _begin_anew() -> None:
    """Know of nothing in a child process: what its parent has open is the parent's, as the locks on it are."""
    global _lock  # a thread that the child does not have may hold it
    _lock = threading.Lock()
    for account in (_connected, _at_work, _logs, _kept):
        account.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
