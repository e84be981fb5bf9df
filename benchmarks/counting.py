"""What one call does, counted: turns of the event loop, tasks, thread hops, calls of the store, memory.

Counts are the same on a busy machine as on an idle one, other than times. Each is the median of many repetitions:
timers and heartbeats add to some of them, and a machine that stalls lets some calls return early.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import gc
import statistics
import sys
import threading
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any, Final

REPETITIONS: Final = 21
TRACED: Final = 5
"""Repetitions whose memory is counted."""
TAIL: Final = 12
"""Turns of the loop after each call: tasks that it leaves behind run in them, and count as its own."""

TRIPS: Final = ("get_many", "set_many", "delete_many", "swap", "extend", "touch", "advance", "sizes", "time")
"""The methods of a backend that ask the store."""


async def _nothing(number: int) -> None:
    """Prepare nothing."""


@dataclass(frozen=True, slots=True)
class HotCall:
    """A call to count. Both functions get the number of the repetition, from 0 on."""

    run: Callable[[int], Awaitable[object]]
    prepare: Callable[[int], Awaitable[object]] = _nothing

    def from_(self, first: int) -> HotCall:
        """Return the call with other numbers, so that what was missed once is missed again."""
        return HotCall(lambda number: self.run(number + first), lambda number: self.prepare(number + first))


class CountingLoop(asyncio.SelectorEventLoop):
    """An event loop that counts its turns and the tasks made on it."""

    turns = 0
    tasks = 0

    @contextlib.contextmanager
    def standing_still(self) -> Iterator[None]:
        """Let no timer strike: on a busy machine some would, and their work is none of a call's."""
        now = self.time()
        self.time = lambda: now  # type: ignore[method-assign]  # of this loop alone, so that no other call is longer
        try:
            yield
        finally:
            del self.time

    def _run_once(self) -> None:
        self.turns += 1
        super()._run_once()  # type: ignore[misc]  # the one method that every turn goes through, in all versions

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        """Make a task, and count it."""
        self.tasks += 1
        return super().create_task(coro, **options)


class Counter:
    """A number that patched methods raise, in whichever thread they are called."""

    def __init__(self) -> None:
        self.value = 0

    def counted(self, method: Callable[..., Any]) -> Callable[..., Any]:
        """Return `method` with its calls counted."""

        @functools.wraps(method)
        def counting(*given: Any, **named: Any) -> Any:
            self.value += 1
            return method(*given, **named)

        return counting


@contextlib.contextmanager
def counted(*places: tuple[type, str]) -> Iterator[Counter]:
    """Count the calls of methods, given as class and name, while the block runs."""
    counter = Counter()
    before = [(kind, name, getattr(kind, name)) for kind, name in places]
    for kind, name, method in before:
        setattr(kind, name, counter.counted(method))
    try:
        yield counter
    finally:
        for kind, name, method in before:
            setattr(kind, name, method)


def thread_hops() -> contextlib.AbstractContextManager[Counter]:
    """Count what is handed to another thread: callbacks to its loop, work for pools, threads started."""
    return counted(
        (asyncio.BaseEventLoop, "call_soon_threadsafe"),
        (concurrent.futures.ThreadPoolExecutor, "submit"),
        (threading.Thread, "start"),
    )


def trips(backend: type) -> contextlib.AbstractContextManager[Counter]:
    """Count the calls of the store through `backend`, of caches that are made while the block runs."""
    return counted(*((backend, name) for name in TRIPS if hasattr(backend, name)))


async def count(call: HotCall, loop: CountingLoop, store: Counter, hops: Counter) -> dict[str, int]:
    """Return the counts of one call, by name."""
    found: list[dict[str, int]] = []
    for number in range(REPETITIONS):
        await call.prepare(number)
        for _ in range(TAIL):
            await asyncio.sleep(0)
        turns, tasks, asked, handed = loop.turns, loop.tasks, store.value, hops.value
        await call.run(number)
        turns = loop.turns - turns
        for _ in range(TAIL):
            await asyncio.sleep(0)
        found.append(
            {
                "turns": turns,
                "tasks": loop.tasks - tasks,
                "store calls": store.value - asked,
                "thread hops": hops.value - handed,
            }
        )
    return {name: statistics.median_low([one[name] for one in found]) for name in found[0]}


class Allocations:
    """Sums the bytes of memory that Python takes, instruction by instruction, of what runs in this thread.

    Memory given back within an instruction is not seen, nor is an object from the interpreter's own free lists. What is
    seen is the same from run to run.
    """

    def __init__(self) -> None:
        self._taken = 0
        self._last = 0

    def start(self) -> None:
        """Begin at zero."""
        self._taken = 0
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:  # a coroutine that goes on is traced as well
            frame.f_trace, frame.f_trace_opcodes = self._trace, True
            frame = frame.f_back
        self._last = tracemalloc.get_traced_memory()[0]
        sys.settrace(self._trace)

    def stop(self) -> int:
        """End, and return how many bytes were taken."""
        sys.settrace(None)
        return self._taken

    def _trace(self, frame: FrameType, event: str, argument: object) -> Callable[..., Any]:
        now = tracemalloc.get_traced_memory()[0]
        if now > self._last:
            self._taken += now - self._last
        frame.f_trace_opcodes = True
        self._last = tracemalloc.get_traced_memory()[0]
        return self._trace


async def allocated(call: HotCall, loop: CountingLoop) -> int:
    """Return how many bytes of memory one call takes, those that it gives back included."""
    found: list[int] = []
    allocations = Allocations()
    waited = False
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        for number in range(TRACED):
            await call.prepare(number)
            for _ in range(TAIL):
                await asyncio.sleep(0)
            turns = loop.turns
            with loop.standing_still():
                allocations.start()
                try:
                    await call.run(number)
                finally:
                    found.append(allocations.stop())
                waited = waited or loop.turns > turns
    finally:
        tracemalloc.stop()
        gc.enable()
    # What lets other callbacks run may return early; what does not can only be added to.
    return statistics.median_low(found) if waited else min(found)
