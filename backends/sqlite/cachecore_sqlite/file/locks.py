"""Waiting for locks that other processes hold: the pauses between attempts, and the lock of a folder."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import time
from collections.abc import Iterator
from typing import Final

try:
    import fcntl
except ImportError:  # Windows has no such lock: two processes that create one new file at the same moment may collide
    fcntl = None  # type: ignore[assignment]

PAUSES: Final = (0.0001, 0.0002, 0.0004, 0.0008, 0.0016)
"""Seconds between attempts to take SQLite's locks; the last pause is repeated."""
_FOLDER_PAUSE_SECONDS: Final = 0.001


class FolderRemovedError(FileNotFoundError):
    """The folder of a database is not there any more, and is not to be created."""


@contextlib.contextmanager
def folder_locked(folder: str, limit: float, *, make: bool = True) -> Iterator[None]:
    """Hold the exclusive lock of `folder`; no process creates or moves cache files then.

    A folder that is absent is created if `make`. The lock is on the folder itself, so no lock file remains. Where the
    platform has no `fcntl`, nothing is locked.

    Raises:
        FolderRemovedError: it is absent, and not to be created.
        OSError: it cannot be created.
        sqlite3.OperationalError: busy at `limit` (monotonic s).
    """
    if make:
        os.makedirs(folder, exist_ok=True)
    elif not os.path.isdir(folder):
        raise FolderRemovedError(errno.ENOENT, os.strerror(errno.ENOENT), folder)
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
                    busy = sqlite3.OperationalError("another process is creating or moving the file")
                    busy.sqlite_errorcode = sqlite3.SQLITE_BUSY
                    raise busy from error
                time.sleep(_FOLDER_PAUSE_SECONDS)
        yield
    finally:
        os.close(handle)
