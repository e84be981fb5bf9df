"""The time of an event loop less the time in which it could not turn: deadlines of a store are counted in it.

A loop that is busy with other tasks, a thread that waits for the interpreter's lock and a process that waits for a
processor all see the timer fire late. Such a tick counts for little, however long it took.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Final

TICK: Final = 0.005
"""Seconds between two looks at the clock while a call is under way."""
_LATE: Final = 0.002
"""Seconds by which a timer of an idle loop may be late: its clock has steps of a millisecond."""
_LATE_TICK: Final = TICK / 2
"""The most that a tick counts when its timer was late."""


class LoopTime:
    """Counts one loop's own seconds. They stand still while nothing asks to be woken."""

    __slots__ = ("_context", "_due", "_loop", "_ticked", "_timer", "now")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._context = Context()  # that of a request would live as long as there are calls
        self.now = 0.0
        """Own seconds as of the last tick."""
        self._ticked = 0.0
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def own(self, now: float) -> float:
        """Return the own seconds at `now`, the loop's time."""
        if self._timer is None:
            return self.now
        passed = now - self._ticked
        return self.now + (passed if passed < TICK else TICK)  # noqa: FURB136 - min() costs each call more

    def wake_in(self, seconds: float, tick: Callable[[], object]) -> None:
        """Call `tick`, which calls `self.tick`, after so many seconds (at most a tick) or before."""
        due = self._loop.time() + seconds
        if self._timer is None:
            self._ticked = due - seconds
        elif due >= self._due:
            return
        else:
            self._timer.cancel()
        self._due = due
        self._timer = self._loop.call_at(due, tick, context=self._context)

    def tick(self) -> float:
        """Count the time since the last tick; return the seconds by which this one is late."""
        now = self._loop.time()
        passed, late = now - self._ticked, now - self._due
        self.now += passed if late <= _LATE else min(passed, _LATE_TICK)
        self._ticked, self._timer = now, None
        return late
