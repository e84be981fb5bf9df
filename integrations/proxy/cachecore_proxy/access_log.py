"""One line of JSON for each request: no prompt, no answer, no key, no query."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Final, TextIO

import msgspec

from cachecore_proxy.clients import Client
from cachecore_proxy.requests import Incoming

_MOST_LINES: Final = 256
_FLUSH_SECONDS: Final = 0.25
_MAX_TEXT: Final = 200


class Line(msgspec.Struct, omit_defaults=True):
    """One line."""

    time: float
    method: str
    path: str
    status: int
    outcome: str
    ms: float
    bytes: int
    model: str | None = None
    tenant: str | None = None
    prompt: str | None = None
    reason: str | None = None
    stream: bool = False
    first_ms: float | None = None


_ENCODER: Final = msgspec.json.Encoder()


class AccessLog:
    """Writes lines, many at once. For one event loop."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._lines: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None

    def write(self, incoming: Incoming, client: Client) -> None:
        """Write the line of a request that has ended."""
        ended = time.perf_counter()
        told = Line(
            time=round(time.time(), 3),
            method=incoming.scope["method"],
            path=incoming.scope["path"][:_MAX_TEXT],
            status=incoming.status,
            outcome=incoming.outcome,
            model=_short(incoming.model),
            tenant=incoming.tenant,
            prompt=incoming.prompt,
            reason=incoming.reason,
            stream=incoming.streams,
            first_ms=None if incoming.seconds is None else round(incoming.seconds * 1000, 2),
            ms=round((ended - incoming.began) * 1000, 2),
            bytes=client.sent,
        )
        self._lines.append(_ENCODER.encode(told))
        if len(self._lines) >= _MOST_LINES:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Write the lines that wait."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines, self._lines = self._lines, []
        if lines:
            self._out.write(b"\n".join(lines).decode() + "\n")
            self._out.flush()


def _short(text: str | None) -> str | None:
    return text if text is None else text[:_MAX_TEXT]
