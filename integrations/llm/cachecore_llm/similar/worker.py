"""Work off the event loop, in slices: one thread for the process, which gives the interpreter up after each slice.

A job is a generator that yields after each small piece of work. A thread alone is not enough: it holds the interpreter
for 5 ms at a time, and a loop that wants it as often loses half its speed; so the thread sleeps between slices.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from typing import Final, TypeVar, cast

from cachecore_llm.similar.threads import Threads

T = TypeVar("T")
Job = Generator[None, None, T]

SLICE: Final = 0.002
"""Seconds that a slice takes, and what the piece of work that ends it takes over."""
PAUSE: Final = 0.001
"""Seconds between two slices, so that a build takes half of one processor at most."""


class Worker:
    """Runs jobs one after the other, in a thread that begins with the first and ends when there is none for a while."""

    def __init__(self) -> None:
        self._threads = Threads("cachecore-similar", 1)

    async def run(self, job: Job[T]) -> T:
        """Return the result of `job`, run off the loop. Cancelled, the job ends after its present slice."""
        left = threading.Event()
        try:
            return cast("T", await self._threads.run(sliced, job, left.is_set))  # None is for callers that left
        finally:
            left.set()


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


WORKER: Final = Worker()
"""The worker of this process."""
