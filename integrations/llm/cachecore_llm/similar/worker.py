"""Work off the event loop, in slices: one thread for the process, which gives the interpreter up after each slice.

A job is a generator that yields after each small piece of work. A thread alone is not enough: it holds the interpreter
for 5 ms at a time, and a loop that wants it as often loses half its speed; so the thread sleeps between slices.
"""

from __future__ import annotations

import asyncio
import os
import queue
import threading
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any, Final, TypeVar

T = TypeVar("T")
Job = Generator[None, None, T]

SLICE: Final = 0.002
"""Seconds that a slice takes, and what the piece of work that ends it takes over."""
PAUSE: Final = 0.001
"""Seconds between two slices, so that a build takes half of one processor at most."""


class Worker:
    """Runs jobs one after the other, in a thread that begins with the first and dies with the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._pid = 0  # of the process whose thread serves the queue; guarded by _lock

    async def run(self, job: Job[T]) -> T:
        """Return the result of `job`, run off the loop. Cancelled, the job ends after its present slice."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def work() -> None:
            result: Any = None
            error: BaseException | None = None
            try:
                result = sliced(job, future.cancelled)
            except Exception as raised:  # noqa: BLE001 - raised again where the result is awaited
                error = raised

            def tell() -> None:
                if future.done():
                    return
                if error is None:
                    future.set_result(result)
                else:
                    future.set_exception(error)

            with suppress(RuntimeError):  # the loop is closed: its caller is gone
                loop.call_soon_threadsafe(tell)

        self._served().put(work)
        return await future

    def _served(self) -> queue.SimpleQueue[Callable[[], None]]:
        with self._lock:
            if self._pid != os.getpid():  # a forked child has the queue, but no thread
                self._jobs = queue.SimpleQueue()
                self._pid = os.getpid()
                threading.Thread(target=_serve, args=(self._jobs,), name="cachecore-similar", daemon=True).start()
            return self._jobs


def sliced(job: Job[T], cancelled: Callable[[], bool] = lambda: False) -> T | None:
    """Run `job` to its end, sleeping between slices; return its value, None if it was cancelled."""
    until = time.perf_counter() + SLICE
    while True:
        try:
            next(job)
        except StopIteration as ended:
            value: T = ended.value
            return value
        if time.perf_counter() >= until:
            if cancelled():
                job.close()
                return None
            time.sleep(PAUSE)
            until = time.perf_counter() + SLICE


def at_once(job: Job[T]) -> T:
    """Return the result of `job`, run here and now."""
    while True:
        try:
            next(job)
        except StopIteration as ended:
            value: T = ended.value
            return value


def _serve(jobs: queue.SimpleQueue[Callable[[], None]]) -> None:
    while True:
        jobs.get()()


WORKER: Final = Worker()
"""The worker of this process."""
