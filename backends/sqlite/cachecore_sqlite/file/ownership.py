"""Ownership of a file: this version's cache, another program's, newer, damaged or new; read before SQLite may write."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import sys
from typing import Final, Literal
from urllib.parse import quote

from cachecore_sqlite.file import schema
from cachecore_sqlite.file.errors import is_damage
from cachecore_sqlite.file.open_files import WAL_SUFFIX, read_start

Ownership = Literal["ours", "new", "damaged", "foreign", "newer"]

_MAGIC: Final = b"SQLite format 3\0"
_SMALLEST_DATABASE: Final = 512
_SEARCHED_BYTES: Final = 64 * 1024


def size_of(path: str) -> int:
    """Return the size of the file at `path` in bytes, 0 if there is no file."""
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def free_bytes(folder: str) -> int:
    """Return the free bytes of the disk; `sys.maxsize` if the file system reports none, as some in memory do."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return sys.maxsize
    return usage.free if usage.total else sys.maxsize


def ownership(path: str) -> Ownership:
    """Return the ownership of the file, without SQLite's locks, logs or recovery: nothing is written.

    `damaged` is a file of this library, or a truncated start of a database. Raises `sqlite3.Error`, `OSError`.
    """
    seen = _look(path)
    # A file that looked damaged is sound if its last user has meanwhile finished a checkpoint and deleted the WAL.
    return _look(path) if seen == "damaged" else seen


def _look(path: str) -> Ownership:
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
    if empty and not size_of(path + WAL_SUFFIX):
        return "new"
    return _by_marks(path)


def _of_version(stored: int) -> Ownership:
    version = schema.unpacked(stored)
    if version is None:
        return "damaged"
    return "newer" if version > schema.VERSION else "ours"


def _by_marks(path: str) -> Ownership:
    start = read_start(path, _SEARCHED_BYTES)
    labelled = start[68:72] == schema.APPLICATION_ID.to_bytes(4, "big")
    if labelled and start.startswith(_MAGIC) and size_of(path + WAL_SUFFIX):
        # A checkpoint was interrupted by a kill, or runs now: together with its WAL the file is sound.
        return _of_version(int.from_bytes(start[60:64], "big"))
    if labelled or schema.MARK.encode() in start:
        return "damaged"
    if len(start) < _SMALLEST_DATABASE and start.startswith(_MAGIC[: len(start)]):
        return "damaged"  # too short to hold any data
    return "foreign"
