"""A cache in memory on a clock that stands still until a test moves it."""

from __future__ import annotations

from typing import Any

from cachecore.api.cache import Cache
from cachecore.contract.options import Duration, seconds
from cachecore.testing.clocks import FakeClock


class FrozenCache(Cache[Any]):
    """`Cache("memory://")` with one clock for copies and store.

    Timeouts of factories and background work stay on the event loop's own time.
    """

    __slots__ = ("clock",)

    def __init__(self, *, ttl: Duration | None, **options: Any) -> None:
        self.clock = FakeClock()
        super().__init__("memory://", **{"ttl": ttl, "jitter": 0, "clock": self.clock, **options})

    def advance(self, duration: Duration) -> None:
        """Let `duration` pass: seconds, a timedelta or text such as "2h"."""
        self.clock.advance(seconds("duration", duration))
