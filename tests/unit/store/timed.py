"""A guard in virtual time that is asked how long its calls take."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cachecore.contract.errors import BackendError
from cachecore.contract.options import StoreOptions
from cachecore.contract.protocols import CacheBackend
from cachecore.store.guard import Guard
from cachecore.store.memory_backend import MemoryBackend
from cachecore.testing.faulty import FaultyBackend
from cachecore.testing.virtual import VirtualClock
from tests.unit.store.guarded import Recording

Ask = Callable[[], Awaitable[Any]]


class Timed:
    """A guard in virtual time, and how long its calls take."""

    def __init__(self, backend: CacheBackend | None = None, **options: Any) -> None:
        self.clock = VirtualClock()
        self.store = FaultyBackend(MemoryBackend(clock=self.clock))
        self.seen = Recording()
        self.guard = Guard(
            backend or self.store,
            StoreOptions(**options),
            clock=self.clock,
            chance=random.Random(1),
            observer=self.seen,
        )

    def run(self, main: Awaitable[None]) -> None:
        async def whole() -> None:
            await main
            self.store.heal()

        self.clock.run(whole())

    async def seconds(self, ask: Ask, error: str | None = None) -> float:
        """Return the seconds that a call takes, which fails for the reason `error` if one is given."""
        began = self.clock.monotonic()
        if error is None:
            await ask()
        else:
            with pytest.raises(BackendError) as failed:
                await ask()
            assert failed.value.reason == error
        return self.clock.monotonic() - began

    async def read(self, error: str | None = None) -> float:
        return await self.seconds(lambda: self.guard.get_many(["k"]), error)

    async def write(self, error: str | None = None) -> float:
        return await self.seconds(lambda: self.guard.explicit.set_many({"k": b"v"}, ttl=None), error)
