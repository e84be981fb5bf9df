"""When a backend has looked at the file that it opened."""

from __future__ import annotations

from cachecore_sqlite import SQLiteBackend
from cachecore_sqlite.space.checkpoint import Saver


def until_looked_at(backend: SQLiteBackend) -> None:
    """Wait until a thread has looked whether the file is in order, which the first read begins."""
    (saver,) = [worker for worker in backend._engine._workers if isinstance(worker, Saver)]
    saver.wake()
    assert saver.idle.wait(10)
