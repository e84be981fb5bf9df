"""A guard around a store that fails as told, and who watches it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any

import pytest

from cachecore.contract.errors import BackendUnavailable
from cachecore.contract.options import StoreOptions
from cachecore.store.guard import Guard
from cachecore.testing.clocks import FakeClock
from cachecore.testing.faulty import FaultyBackend


class Recording:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.errors: list[tuple[str, str]] = []
        self.states: list[tuple[str, str]] = []

    def recorder(self, operation: str) -> Callable[[float], object]:
        def took(seconds: float) -> None:
            assert seconds >= 0
            self.calls.append(operation)

        return took

    def backend_error(self, operation: str, reason: str) -> None:
        self.errors.append((operation, reason))

    def breaker_state(self, partition: str, state: str) -> None:
        self.states.append((partition, state))


class Guarded:
    """A guard around a store that fails as told; its breaker's time stands still."""

    def __init__(self, inner: Any = None, **options: Any) -> None:
        self.store = FaultyBackend(inner)
        self.clock = FakeClock()
        self.seen = Recording()
        options = {
            "backend_timeout": 0.02,
            "backend_timeout_max": 0.02,
            "breaker_backoff": 1.0,
            "breaker_backoff_max": 8.0,
            **options,
        }
        self.guard = Guard(
            self.store, StoreOptions(**options), clock=self.clock, chance=random.Random(1), observer=self.seen
        )


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Let the loop turn until `condition` holds."""
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "the condition never held"
        await asyncio.sleep(0.001)


async def opened(made: Guarded) -> None:
    """Open the breaker with failures that take no time, and let the store be well again."""
    fault = made.store.fail("get_many")
    for _ in range(3):
        with pytest.raises(BackendUnavailable):
            await made.guard.get_many(["k"])
    assert made.guard.states() == {"": "open"}
    fault.times = 0
    made.store.calls.clear()
