"""The engine's observer of the guard's calls: counts, and the news that the store has been away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from cachecore.engine.telemetry import Telemetry, say_full

_AWAY: Final = frozenset({"refused", "reset", "connect_timeout", "closed", "readonly", "loading"})
"""Reasons of errors after which another server may answer, with older data."""

BREAKER_OPEN: Final = "breaker_open"
"""The reason of a call that is not made, because earlier ones failed."""


class StoreObserver:
    """Counts the guard's events, and notices that the store has been away."""

    keeps_for_ever = False
    """Whether any view has answers without a ttl."""

    last_reason: str | None = None
    """Why a call that was made failed last."""

    def __init__(self, telemetry: Telemetry, was_away: Callable[[], None], is_back: Callable[[], None]) -> None:
        self.recorder = telemetry.recorder
        self._telemetry = telemetry
        self._was_away = was_away
        self._is_back = is_back

    def backend_error(self, operation: str, reason: str) -> None:
        """A call failed."""
        self._telemetry.backend_error(operation, reason)
        if reason != BREAKER_OPEN:
            self.last_reason = reason
        if reason in _AWAY:
            self._was_away()
        if reason == "full" and self.keeps_for_ever:
            say_full()

    def breaker_state(self, partition: str, state: str) -> None:
        """A breaker has opened or closed."""
        self._telemetry.breaker_state(partition, state)
        if state == "closed":
            self._is_back()
