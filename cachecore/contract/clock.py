"""Where time comes from: an argument, so that tests can hold it still.

Two kinds of time, never mixed: `monotonic` measures how long things last inside one process, `time` says when something
happened and may be compared between processes.

Answers age while the machine sleeps, so `monotonic` counts that time where the system has such a clock: CLOCK_BOOTTIME
on Linux, CLOCK_MONOTONIC_RAW on macOS, `time.monotonic` on Windows. Elsewhere, as on FreeBSD, it may stand still.
Timers of the event loop stay on `loop.time()`: a wait for an answer does not count the time in which none can come.
"""

from __future__ import annotations

import datetime
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

_LEAP: Final = 1.0
"""Seconds by which the wall clock must run ahead of a monotonic one at once for the machine to have slept."""


class Clock(Protocol):
    """The two clocks of this package. Both calls are cheap and never wait.

    A clock that has an attribute `counts_sleep` that is true is believed; any other is watched, and where its `time`
    runs ahead of its `monotonic` the difference is taken for sleep (see `counting_sleep`).
    """

    def monotonic(self) -> float:
        """Return seconds since some moment; never goes back."""

    def time(self) -> float:
        """Return seconds since the Unix epoch; the host may set it at any time."""


def _system_monotonic() -> Callable[[], float]:
    clock = getattr(time, "CLOCK_MONOTONIC_RAW" if sys.platform == "darwin" else "CLOCK_BOOTTIME", None)
    if clock is None:
        return time.monotonic
    # Bound early: a hit reads the clock, and looking both up again would cost half as much as the reading.
    read = partial(time.clock_gettime, clock)
    try:
        read()
    except OSError:  # the C library knows it, this kernel does not
        return time.monotonic
    return read


monotonic: Final = _system_monotonic()
"""The machine's monotonic seconds, sleep included; `Alive.sent_at` of a backend's feed is read from it."""


class SystemClock:
    """The machine's own clocks."""

    counts_sleep = True
    # Bound to the C functions themselves: a hit reads the clock, and a Python frame would cost more than the read.
    monotonic = staticmethod(monotonic)
    time = staticmethod(time.time)


def counting_sleep(clock: Clock) -> Clock:
    """Return `clock`, or one that counts leaps of its wall clock as sleep, unless `clock` says that it counts sleep."""
    return clock if getattr(clock, "counts_sleep", False) else _Watched(clock)


class _Moved:
    """The machine's clocks where a library for tests may have replaced the wall clock, which is looked up at each call.

    By `datetime`, since freezegun answers `time.time` with the real time where a thread's own code asks.
    """

    monotonic = staticmethod(monotonic)

    def time(self) -> float:
        return datetime.datetime.now(datetime.UTC).timestamp()


def system_clock() -> Clock:
    """Return the machine's clock; where freezegun or time-machine is loaded, one that goes along when time is moved.

    They move the wall clock alone. A sudden advance is taken for time that has passed.
    """
    return counting_sleep(_Moved()) if moved_by_tests() else SystemClock()


def moved_by_tests() -> bool:
    """Return whether a library is loaded that moves the wall clock for tests."""
    return not sys.modules.keys().isdisjoint(("freezegun", "time_machine"))


class _Watched:
    """A clock whose monotonic seconds may stand still while the machine sleeps; safe to use from several threads.

    A wall clock that is set forward looks the same, and then answers end early: never late.
    """

    counts_sleep = True

    def __init__(self, clock: Clock) -> None:
        self.time = clock.time
        self._monotonic = clock.monotonic
        self._lock = threading.Lock()
        self._ahead = clock.time() - clock.monotonic()  # of the wall clock, as last seen; the rest is guarded by _lock
        self._slept = 0.0

    def monotonic(self) -> float:
        """Return the seconds of the clock and of all sleep since it is watched."""
        now = self._monotonic()
        leap = self.time() - now - self._ahead
        if leap > _LEAP or leap < 0:
            with self._lock:
                ahead = self.time() - self._monotonic()
                self._slept += ahead - self._ahead if ahead - self._ahead > _LEAP else 0.0
                self._ahead = ahead
                now = self._monotonic()
        return now + self._slept
