"""What is at the path of a cache, told without opening, making or moving anything: for operators."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from typing import Final

from cachecore_sqlite.file.open_files import WAL_SUFFIX
from cachecore_sqlite.file.ownership import free_bytes, ownership, size_of
from cachecore_sqlite.options import MEMORY, SQLiteOptions

_REASONS: Final = {
    "new": "there is no cache in this file yet; the first answer that is stored makes it",
    "damaged": "this file is damaged: the next process that opens the cache moves it aside and begins an empty one",
    "foreign": "this is the file of another program; give the cache a path of its own",
    "newer": "a newer version of cachecore-sqlite made this file; install that version",
}


def absence(path: str) -> str | None:
    """Return why there is no cache at `path`, in words for people; None if there is one, or a database in memory."""
    if path == MEMORY:
        return None
    if not os.path.exists(path):
        return "there is no such file; the first answer that is stored makes it"
    try:
        return _REASONS.get(ownership(path))
    except (OSError, sqlite3.Error) as error:
        return f"the file cannot be read: {error}"


def facts(path: str, options: SQLiteOptions) -> Mapping[str, str]:
    """Return facts about the file, as text for people; sizes are bytes. May wait for the disk."""
    if path == MEMORY:
        return {"server": f"SQLite {sqlite3.sqlite_version}", "persistence": "none"}
    return {
        "server": f"SQLite {sqlite3.sqlite_version}",
        "bytes": str(size_of(path)),
        "wal_bytes": str(size_of(path + WAL_SUFFIX)),
        "free_bytes": str(free_bytes(os.path.dirname(path))),
        "maxmemory": str(options.max_bytes),
        "persistence": f"file (durability={options.durability})",
    }
