"""When a backend has looked at the file that it opened."""

from __future__ import annotations

from cachecore_sqlite import SQLiteBackend
from cachecore_sqlite.threads.checkpointer import Checkpointer


def until_checked(backend: SQLiteBackend) -> None:
    """Wait until a thread has looked whether the file is in order, which the first read begins."""
    (checkpointer,) = [worker for worker in backend._pool._workers if isinstance(worker, Checkpointer)]
    checkpointer.wake()
    assert checkpointer.idle.wait(10)
