"""Where time comes from: an argument, so that tests can hold it still.

Two kinds of time, never mixed: `monotonic` measures how long things last inside one process,
`time` says when something happened and may be compared between processes.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """What the library asks of a clock. Both calls are cheap and never wait."""

    def monotonic(self) -> float:
        """Return seconds since some moment; never goes back."""

    def time(self) -> float:
        """Return seconds since the Unix epoch; the host may set it at any time."""


class SystemClock:
    """The machine's own clocks."""

    # Bound to the C functions themselves: a hit reads the clock, and a Python frame would cost more than the read.
    monotonic = staticmethod(time.monotonic)
    time = staticmethod(time.time)
