"""Whose a file is, told before SQLite may write to it or beside it."""

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
from cachecore_sqlite.file.open_files import beginning

Whose = Literal["ours", "new", "damaged", "foreign", "newer"]

_MAGIC: Final = b"SQLite format 3\0"
_SMALLEST_DATABASE: Final = 512
_SEARCHED_BYTES: Final = 64 * 1024


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
    found = _look(path)
    # If the last one who had it open has just moved the log into it and deleted that, it is sound by now.
    return _look(path) if found == "damaged" else found


def _look(path: str) -> Whose:
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
    start = beginning(path, _SEARCHED_BYTES)
    labelled = start[68:72] == schema.APPLICATION_ID.to_bytes(4, "big")
    if labelled and start.startswith(_MAGIC) and size_of(path + "-wal"):
        # Killed while the log was being moved into it, or that is going on now: together with its log it is sound.
        return _of_version(int.from_bytes(start[60:64], "big"))
    if labelled or schema.MARK.encode() in start:
        return "damaged"
    if len(start) < _SMALLEST_DATABASE and start.startswith(_MAGIC[: len(start)]):
        return "damaged"  # nobody's data
    return "foreign"
