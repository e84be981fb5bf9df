"""Whose a file is, told before SQLite may write to it or beside it."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import sys
import threading
from collections import Counter
from collections.abc import Callable
from typing import Final, Literal, TypeVar
from urllib.parse import quote

from cachecore_sqlite import schema
from cachecore_sqlite.translate import is_damage

T = TypeVar("T")
Inode = tuple[int, int]
Whose = Literal["ours", "new", "damaged", "foreign", "newer"]

_MAGIC: Final = b"SQLite format 3\0"
_SMALLEST_DATABASE: Final = 512
_SEARCHED_BYTES: Final = 64 * 1024

_lock = threading.Lock()
_connected: Counter[Inode] = Counter()  # guarded by _lock; connections of this process
_kept: dict[Inode, list[int]] = {}  # guarded by _lock; files read here that must not be closed yet


def inode_of(path: str) -> Inode | None:
    """Return what tells the file at `path` from any other, None if there is none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def size_of(path: str) -> int:
    """Return the size of the file at `path`, 0 if there is none."""
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def free_bytes(folder: str) -> int:
    """Return how many bytes the disk has left; a great many if it does not say, as some in memory do not."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return sys.maxsize
    return usage.free if usage.total else sys.maxsize


def whose(path: str) -> Whose:
    """Tell whose the file is, without SQLite's locks, logs or recovery: nothing is written.

    `damaged` was ours, or is the beginning of a database that was cut off. Raises `sqlite3.Error`, `OSError`.
    """
    if not size_of(path):
        return "new"
    uri = f"file:{quote(path)}?mode=ro&immutable=1"
    try:
        with contextlib.closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            (stored,) = connection.execute("PRAGMA user_version").fetchone()
            empty = application == 0 and stored == 0 and schema.is_empty(connection)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        if not is_damage(error):
            raise
        return _by_marks(path)
    if application == schema.APPLICATION_ID:
        return _of_version(stored)
    if empty and not size_of(path + "-wal"):
        return "new"
    return _by_marks(path)


def _of_version(stored: int) -> Whose:
    version = schema.unpacked(stored)
    if version is None:
        return "damaged"
    return "newer" if version > schema.VERSION else "ours"


def _by_marks(path: str) -> Whose:
    start = _beginning(path)
    labelled = start[68:72] == schema.APPLICATION_ID.to_bytes(4, "big")
    if labelled and start.startswith(_MAGIC) and size_of(path + "-wal"):
        # Killed while the log was being moved into it, or that is going on now: together with its log it is sound.
        return _of_version(int.from_bytes(start[60:64], "big"))
    if labelled or schema.MARK.encode() in start:
        return "damaged"
    if len(start) < _SMALLEST_DATABASE and start.startswith(_MAGIC[: len(start)]):
        return "damaged"  # nobody's data
    return "foreign"


def connected(inode: Inode) -> None:
    """Note a connection of this process to a file, before it is opened."""
    with _lock:
        _connected[inode] += 1


def unless_connected(inode: Inode | None, read: Callable[[], T]) -> T | None:
    """Return what `read` returns, None if this process has connections to the file; none is opened meanwhile."""
    with _lock:
        return None if inode is not None and _connected[inode] else read()


def disconnected(inode: Inode) -> bool:
    """Note that it was closed; tell whether it was the last one, so that another file may get the same identity."""
    with _lock:
        _connected[inode] -= 1
        if _connected[inode]:
            return False
        del _connected[inode]
        for handle in _kept.pop(inode, ()):
            os.close(handle)
        return True


def _beginning(path: str) -> bytes:
    """Return the first bytes of the file.

    Closing any handle of a file gives up all locks that the process holds on it (POSIX), SQLite's too. So the handle
    stays open for as long as there are connections.
    """
    with _lock:
        handle = os.open(path, os.O_RDONLY)
        try:
            found = os.fstat(handle)
            return os.pread(handle, _SEARCHED_BYTES, 0)
        finally:
            inode = found.st_dev, found.st_ino
            if _connected[inode]:
                _kept.setdefault(inode, []).append(handle)
            else:
                os.close(handle)
