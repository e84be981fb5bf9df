"""Signs of life in a stream that waits for its provider, so that proxies on the way do not take it for dead."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Final, Self

from cachecore_llm.wire import ProtocolName
from cachecore_proxy.clients import Client, ClientGoneError

EVERY: Final = 15.0
"""Seconds without an event."""

_COMMENT: Final = b": \n\n"
_PING: Final = b'event: ping\ndata: {"type": "ping"}\n\n'


class Heartbeat:
    """Sends a comment, or Anthropic's ping, to `client` after each `EVERY` seconds without an event."""

    __slots__ = ("_client", "_frame", "_last", "_loop", "_task", "_timer")

    def __init__(self, client: Client, protocol: ProtocolName) -> None:
        self._client = client
        self._frame = _PING if protocol == "anthropic.messages" else _COMMENT
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()
        self._task: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(EVERY, self._look)

    def beat(self) -> None:
        """Say that an event was sent."""
        self._last = self._loop.time()

    def _look(self) -> None:
        idle = self._loop.time() - self._last
        if idle >= EVERY and (self._task is None or self._task.done()):
            self._task = self._loop.create_task(self._send())
            idle = 0.0
        self._timer = self._loop.call_later(max(EVERY - idle, 1.0), self._look)

    async def _send(self) -> None:
        try:
            await self._client.part(self._frame)
        except ClientGoneError:
            return  # the stream itself learns it, too

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
