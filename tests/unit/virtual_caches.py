"""Caches over one store in virtual time: what the tests of the core build on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from typing import Any

from cachecore import Cache
from cachecore.contract.protocols import CacheBackend
from cachecore.store.memory_backend import MemoryBackend
from cachecore.testing.faulty import FaultyBackend
from cachecore.testing.virtual import VirtualClock


class Scene:
    """One store, one clock, and as many caches as a test wants: each is a process of its own to the others."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.memory = MemoryBackend(clock=self.clock)
        self.store = FaultyBackend(self.memory)
        self.caches: list[Cache[Any]] = []

    def cache(self, backend: CacheBackend | None = None, *, ttl: float | None = 60, **options: Any) -> Cache[Any]:
        """Return a new cache on the shared store."""
        made: Cache[Any] = Cache(
            backend or self.store, ttl=ttl, clock=self.clock, chance=random.Random(1), jitter=0, **options
        )
        self.caches.append(made)
        return made


class Work:
    """What takes `seconds`, counts how often it was cancelled, and then raises `error` if there is one."""

    def __init__(self, seconds: float = 0.0, *, error: Exception | None = None) -> None:
        self.seconds = seconds
        self.error = error
        self.cancelled = 0

    async def work(self) -> None:
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error


class Answer(Work):
    """A factory that counts its calls; each call answers its number."""

    calls = 0

    async def __call__(self) -> Any:
        self.calls += 1
        number = self.calls
        await self.work()
        return number


def virtual(test: Callable[[Scene], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run an async test in virtual time, close its caches, and see that no task is left."""

    @wraps(test)
    def run() -> None:
        scene = Scene()

        async def main() -> None:
            try:
                await test(scene)
            finally:
                scene.store.heal()
            for cache in scene.caches:
                await cache.aclose()
            await asyncio.sleep(0)  # what was cancelled last ends
            assert asyncio.all_tasks() == {asyncio.current_task()}

        scene.clock.run(main())

    del run.__wrapped__  # pytest would look for the argument of `test` among its fixtures
    return run


async def soon(calls: Callable[[], Awaitable[Any]], many: int) -> list[asyncio.Task[Any]]:
    """Start `many` calls and let them get going."""
    tasks = [asyncio.ensure_future(calls()) for _ in range(many)]
    await asyncio.sleep(0.001)
    return tasks
