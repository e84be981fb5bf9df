"""One line of JSON for each request: no prompt, no answer, no key, no query."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Final, TextIO

from cachecore_proxy.clients import Client
from cachecore_proxy.requests import Incoming

_MOST_LINES: Final = 256
_FLUSH_SECONDS: Final = 0.25
_MAX_TEXT: Final = 200


class AccessLog:
    """Writes lines, many at once. For one event loop."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._lines: list[str] = []
        self._timer: asyncio.TimerHandle | None = None

    def write(self, incoming: Incoming, client: Client) -> None:
        """Write the line of a request that has ended."""
        ended = time.perf_counter()
        told = {
            "time": round(time.time(), 3),
            "method": incoming.scope["method"],
            "path": incoming.scope["path"][:_MAX_TEXT],
            "status": incoming.status,
            "outcome": incoming.outcome,
            "model": _short(incoming.model),
            "tenant": _short(incoming.tenant),
            "prompt": incoming.prompt,
            "reason": incoming.reason,
            "stream": incoming.streams or None,
            "first_ms": None if incoming.seconds is None else round(incoming.seconds * 1000, 2),
            "ms": round((ended - incoming.began) * 1000, 2),
            "bytes": client.sent,
        }
        self._lines.append(json.dumps({name: value for name, value in told.items() if value is not None}))
        if len(self._lines) >= _MOST_LINES:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Write what waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines, self._lines = self._lines, []
        if lines:
            self._out.write("\n".join(lines) + "\n")
            self._out.flush()


def _short(text: str | None) -> str | None:
    return text if text is None else text[:_MAX_TEXT]
