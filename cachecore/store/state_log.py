"""The log of a store that goes away and comes back: a line for each change, never one for each call.

While a partition flaps, at most one line a minute tells of it, and the last state is always told in the end.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import weakref
from collections.abc import Callable
from contextvars import Context
from typing import Final

from cachecore.store.breaker import State

logger: Final = logging.getLogger("cachecore.store")

CALM: Final = 60.0
"""Seconds without a change after which the next change is told at once; also between two lines of one that flaps."""

_FREE: Final = 2  # lines: it is away, it is back

_REMEDIES: Final = {
    "refused": "check that a server listens at this address and that no firewall is in between",
    "dns": "check the name of the host",
    "connect_timeout": "check that the address is right and reachable; `connect_timeout` says how long is waited",
    "auth": "check user and password, or the rights of the user",
    "tls": "check the certificates and settings of TLS, here and at the server",
    "no_database": "make the database, or check its name",
    "max_clients": "raise the number of clients that the server allows, or use fewer processes or connections",
    "loading": "it reads its data and will be back by itself",
    "readonly": "this is a replica: point to the primary, or wait for the failover to end",
    "locked": "another process holds the lock of the file for long",
    "timeout": "its answers are late: see `cachecore doctor`; `backend_timeout` says how long a read waits",
    "reset": "connections to it are closed: see its log",
}


class StateLog:
    """Tells of the changes of one partition. May be told of them in any thread.

    Args:
        name: the store and the partition; holds no secret.
        now: monotonic seconds.
        away, back: make the text for a reason, and are the text, of the two states.
    """

    def __init__(
        self, name: str, now: Callable[[], float], away: Callable[[str], str] | None = None, back: str = "is back"
    ) -> None:
        self._away_text = away or _away
        self._back_text = back
        self._name = name
        self._now = now
        self._lock = threading.Lock()  # guards all below
        self._away_since = math.inf  # infinity: it is there
        self._seconds = 0.0  # how long it was away the last time
        self._reason = ""
        self._told_away = False  # whether the last line said "away"
        self._line_at = self._changed_at = -math.inf
        self._free = _FREE  # lines that may follow each other at once
        self._timer_loop: Callable[[], asyncio.AbstractEventLoop | None] = _no_loop  # a weak reference

    def changed(self, state: State, reason: str) -> None:
        """Take note that the breaker is `state` now; `reason` is that of the last failure."""
        now = self._now()
        with self._lock:
            if state == "half_open" or (state == "open") == (self._away_since < math.inf):
                return
            if now - self._changed_at >= CALM:
                self._free = _FREE
            self._changed_at = now
            if state == "open":
                self._away_since, self._reason = now, reason
            else:
                self._seconds, self._away_since = now - self._away_since, math.inf
            self._tell(now)

    def _tell(self, now: float) -> None:
        away = self._away_since < math.inf
        if away == self._told_away:
            return
        if not self._free and now - self._line_at < CALM:
            self._tell_later(self._line_at + CALM - now)
            return
        self._free = max(0, self._free - 1)
        self._told_away, self._line_at = away, now
        if away:
            logger.warning("%s %s", self._name, self._away_text(self._reason))
        else:
            logger.info("%s %s after %.1f s", self._name, self._back_text, self._seconds)

    def _tell_later(self, seconds: float) -> None:
        waiting = self._timer_loop()
        if waiting is not None and not waiting.is_closed():
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # the next change tells
        self._timer_loop = weakref.ref(loop)
        loop.call_later(seconds, self._due, context=Context())  # outlives the request

    def _due(self) -> None:
        with self._lock:
            self._timer_loop = _no_loop
            self._tell(self._now())


def _away(reason: str) -> str:
    remedy = _REMEDIES.get(reason, "see `cachecore doctor`")
    return f"is away ({reason}): answers are computed and not stored until it is back; {remedy}"


def _no_loop() -> asyncio.AbstractEventLoop | None:
    return None
