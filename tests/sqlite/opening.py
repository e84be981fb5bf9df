"""Waiting for the check of a file after opening."""

from __future__ import annotations

from cachecore_sqlite import SQLiteBackend
from cachecore_sqlite.threads.checkpointer import Checkpointer


def until_checked(backend: SQLiteBackend) -> None:
    """Wait until the checkpointer has checked the file, which the first read starts.

    The pool has no public state for it.
    """
    (checkpointer,) = [worker for worker in backend._pool._workers if isinstance(worker, Checkpointer)]
    checkpointer.wake()
    assert checkpointer.idle.wait(60)
