"""A clock that stands still until it is told to move."""

from __future__ import annotations


class FakeClock:
    """`Clock` for tests: monotonic and wall time move together, only by `advance`."""

    counts_sleep = True

    def __init__(self, *, monotonic: float = 1000.0, time: float = 1_700_000_000.0) -> None:
        self._monotonic = monotonic
        self._time = time

    def monotonic(self) -> float:
        """Return the seconds so far."""
        return self._monotonic

    def time(self) -> float:
        """Return the Unix time so far."""
        return self._time

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        self._monotonic += seconds
        self._time += seconds

    def set_wall(self, time: float) -> None:
        """Set the wall clock, as an operator or a time server may; monotonic time does not notice."""
        self._time = time
