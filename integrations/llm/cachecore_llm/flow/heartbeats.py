"""Signs of life for a caller that waits for the next event of a stream: what carries bytes sends them as comment lines.

Proxies and load balancers close connections on which nothing comes for a minute, and a model may think for longer. A
heartbeat is no event: it moves no deadline, neither the provider's idle timeout nor the caller's own.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any, Final

from cachecore_llm.flow.streams import AnswerStream
from cachecore_llm.upstream.timeouts import Abandoned, Pump
from cachecore_llm.wire import JsonObject

HEARTBEAT_SECONDS: Final = 15.0
"""How long a caller waits without an event before it gets the first heartbeat, and between two of them."""


class Heartbeat:
    """In place of an event: none has come for a while, and the stream is still waited for."""

    def __repr__(self) -> str:
        return "HEARTBEAT"


HEARTBEAT: Final = Heartbeat()


class WaitedTooLong(Exception):  # noqa: N818 - it becomes the timeout of the caller's own library
    """No event came within the time that the caller waits for one. The stream goes on for others."""


class HeartbeatStream:
    """The events of one answer, for one reader, with heartbeats between them.

    Args:
        stream: of this reader alone; it is begun, and closed with this. Up to 256 of its events are read ahead.
        every: seconds between heartbeats; None for none.
        limit: seconds that the reader waits for one event; None for as long as the stream lasts.
    """

    def __init__(self, stream: AnswerStream, *, every: float | None = HEARTBEAT_SECONDS, limit: float | None = None):
        self.stream = stream
        self._every, self._limit = every, limit
        self._waited = 0.0
        self._loop, self._pid = asyncio.get_running_loop(), os.getpid()
        self._pump = Pump("cache", stream, Abandoned())
        self._open = True

    async def next(self) -> JsonObject | Heartbeat | None:
        """Return the next event, a heartbeat if none has come for so long, None at the end.

        Raises WaitedTooLong, and the errors of the stream.
        """
        left = None if self._limit is None else max(0.0, self._limit - self._waited)
        patience = min((one for one in (self._every, left) if one is not None), default=None)
        if await self._pump.ready(patience) or patience is None:
            self._waited = 0.0
            return await self._pump.next(None)
        self._waited += patience
        if self._limit is not None and self._waited >= self._limit:
            raise WaitedTooLong
        return HEARTBEAT

    async def aclose(self) -> None:
        """Leave the stream. Idempotent."""
        self._open = False
        await self._pump.aclose()

    def __del__(self) -> None:
        # A response that is dropped without being closed. The collector may run in any thread, and after a fork.
        opened: Any = getattr(self, "_open", False)  # not set if making it failed
        if opened and not self._loop.is_closed() and os.getpid() == self._pid:
            self._loop.call_soon_threadsafe(self._pump.close)
