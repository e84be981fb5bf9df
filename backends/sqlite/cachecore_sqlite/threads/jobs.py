"""Jobs: one call of one caller, handed to a thread through a queue and answered on the caller's event loop."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable
from typing import Any, Protocol

from cachecore_sqlite.file.errors import FileRefused, StoreError, translated
from cachecore_sqlite.table.transaction import Expected


class Job:
    """One call and the future of its caller. A job without a `loop` has no caller to answer."""

    __slots__ = ("arguments", "call", "error", "expected", "future", "limit", "loop", "operation", "result", "timeout")

    def __init__(self, operation: str, call: Any, timeout: float, arguments: tuple[Any, ...] = ()) -> None:
        self.operation = operation
        self.call = call  # None for `get_many` of a reader, which reads the keys of many jobs at once
        self.arguments = arguments
        self.expected: Expected | None = None  # the key and the old value of a swap
        self.timeout = timeout
        self.limit = 0.0  # monotonic s; set when a thread begins with it: the wait for that is not for a lock
        self.loop: asyncio.AbstractEventLoop | None = None
        self.future: asyncio.Future[Any] | None = None
        self.result: Any = None
        self.error: Exception | None = None


def begun(job: Job) -> Job:
    """Return `job`, the time of which for locks begins now."""
    job.limit = time.monotonic() + job.timeout
    return job


class JobQueue(Protocol):
    """The queue of a thread; the thread ends when it takes None."""

    def put(self, item: Job | None, /) -> None:
        """Add a job, from any thread, without waiting."""

    def get(self) -> Job | None:
        """Take the first job; wait until there is one."""

    def get_nowait(self) -> Job | None:
        """Take the first job. Raises `queue.Empty` if there is none."""


def answer(jobs: Iterable[Job]) -> None:
    """Set the futures of `jobs` on their event loops, with one wake-up for each loop."""
    loops: dict[asyncio.AbstractEventLoop, list[Job]] = {}
    for job in jobs:
        if job.loop in loops:
            loops[job.loop].append(job)
        elif job.loop is not None:
            loops[job.loop] = [job]
    for loop, of_loop in loops.items():
        with contextlib.suppress(RuntimeError):  # the loop is closed, and its callers with it
            loop.call_soon_threadsafe(_settle, of_loop)


def _settle(jobs: list[Job]) -> None:
    for job in jobs:
        future = job.future
        if future is None or future.done():
            continue  # the caller cancelled it
        if job.error is None:
            future.set_result(job.result)
        else:
            future.set_exception(job.error)


def set_errors(jobs: Iterable[Job], cause: Exception) -> None:
    """Give each job an exception of its own, chained to `cause`."""
    for job in jobs:
        if isinstance(cause, StoreError):
            job.error = translated(job.operation, cause)
            job.error.__cause__ = cause
        elif isinstance(cause, FileRefused):
            job.error = FileRefused(job.operation, cause.path, cause.reason)
        else:
            job.error = cause
