"""A gate in front of answers: a test closes it, sees which answers wait there, and lets them go. No clock."""

from __future__ import annotations

import asyncio
from collections import deque

from cachecore_llm.testing.provider.calls import CallLog


class Gate:
    """Used on the server's loop alone."""

    def __init__(self, log: CallLog) -> None:
        self._log = log
        self._after: int | None = None
        self._waiting: deque[asyncio.Future[None]] = deque()

    def hold(self, after: int) -> None:
        """Let streams stop before event `after`, counted from 0, and whole answers before their first byte."""
        self._after = after

    def release(self, count: int | None) -> None:
        """Open the gate; or let the `count` answers go that have waited longest. Raises ValueError if fewer wait."""
        if count is None:
            self._after = None
            count = len(self._waiting)
        if count > len(self._waiting):
            raise ValueError(
                f"release({count}): only {len(self._waiting)} answers are held; wait for them with until()"
            )
        for _ in range(count):
            waiter = self._waiting.popleft()
            self._log.held -= 1
            if not waiter.done():
                waiter.set_result(None)
        self._log.changed()

    async def passing(self, sent: int | None) -> None:
        """Wait while the gate is closed for a stream that has `sent` events behind it, or for a whole answer (None)."""
        if self._after is None or (sent is not None and sent != self._after):
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        self._log.held += 1
        self._log.changed()
        try:
            await waiter
        finally:
            if waiter in self._waiting:  # cancelled: the client has left
                self._waiting.remove(waiter)
                self._log.held -= 1
                self._log.changed()
