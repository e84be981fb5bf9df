"""The store's clock as this process sees it, so that the clocks of hosts are never compared.

The offset between the store's clock and this process's monotonic clock is measured at the first read and every minute;
a measurement that took longer than 50 ms says too little and counts only until there is a better one. Without a store
that has a clock, the host's own is used.
"""

from __future__ import annotations

import math
from typing import Final

from cachecore.contract.clock import Clock
from cachecore.contract.errors import BackendError
from cachecore.contract.protocols import CacheBackend, SupportsTime

MEASURE_EVERY: Final = 60.0
_SLOWEST: Final = 0.05


class StoreClock:
    """Tells the store's time. `now` is cheap and never waits."""

    def __init__(self, clock: Clock, backend: CacheBackend | None) -> None:
        self._clock = clock
        self._monotonic = clock.monotonic
        self._backend = backend
        self._offset: float | None = None
        self.unmeasured = backend is not None
        """Whether the store has a clock that has not been read yet."""
        self._error = math.inf  # seconds by which the offset may be wrong
        self.due_at = -math.inf if backend is not None else math.inf
        """Monotonic second from which `measure` is due."""

    def now(self) -> float:
        """Return the store's Unix seconds; the host's as long as the store's were never measured."""
        if self._offset is None:
            return self._clock.time()
        return self._monotonic() + self._offset

    def monotonic_at(self, unix: float | None) -> float:
        """Return the monotonic second at which the store's clock says `unix`; infinity for None."""
        return math.inf if unix is None else unix - self.now() + self._monotonic()

    def expire(self) -> None:
        """Measure again soon: the store may be another one now."""
        if self._backend is not None:
            self.due_at, self._error = -math.inf, math.inf

    async def measure(self) -> None:
        """Measure the offset. A store that does not answer changes nothing, and is asked again later."""
        if not isinstance(self._backend, SupportsTime):
            return
        began = self._monotonic()
        self.due_at = began + 1.0  # no other call measures meanwhile; and not at every read of a sick store
        try:
            time = await self._backend.time()
        except BackendError:
            return
        ended = self._monotonic()
        error = (ended - began) / 2
        if self._offset is None or error < self._error or ended - began <= _SLOWEST:
            # Until there is a good one a bad one serves: it is nearer than the host's own clock may be.
            self._offset, self._error = time - (began + ended) / 2, error
            self.unmeasured = False
        if ended - began <= _SLOWEST:
            self.due_at = ended + MEASURE_EVERY
