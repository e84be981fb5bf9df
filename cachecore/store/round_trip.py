"""How long the store takes for one small answer: the measure of how long a read waits for it.

The smallest of the last ten minutes counts, so that a phase in which everything is slow does not make the deadline
grow with it. Pure: time is an argument.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

SMALL_BYTES: Final = 4096
"""A call with this many bytes or more of values says something about the bandwidth, too, and does not count."""
_MINUTE: Final = 60.0
_MINUTES: Final = 10


class RoundTrip:
    """The smallest round trip to one partition. May be told from any loop: a race loses one measurement."""

    __slots__ = ("_earlier", "ends", "least", "seconds")

    def __init__(self) -> None:
        self.seconds = math.inf
        """The smallest round trip of the last ten minutes, in seconds; infinity: none was measured."""
        self.least = math.inf
        """The smallest one of this minute: a longer one need not be told, until the minute ends."""
        self.ends = -math.inf
        """Monotonic second at which this minute ends."""
        self._earlier: deque[tuple[float, float]] = deque(maxlen=_MINUTES)  # (end of the minute, its smallest)

    def measured(self, seconds: float, now: float) -> None:
        """Take note of a small call that took `seconds` and ended at the monotonic second `now`."""
        if now >= self.ends:
            if self.least < math.inf:
                self._earlier.append((self.ends, self.least))
            while self._earlier and now - self._earlier[0][0] >= _MINUTE * (_MINUTES - 1):
                self._earlier.popleft()
            self.ends, self.least = now + _MINUTE, seconds
        else:
            self.least = min(self.least, seconds)
        self.seconds = min(self.least, min((least for _, least in self._earlier), default=math.inf))
