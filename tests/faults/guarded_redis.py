"""A guard on a real server, with the library's own deadlines, and a count of what reaches the server's driver."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

from cachecore.contract.clock import SystemClock
from cachecore.contract.errors import BackendError
from cachecore.contract.options import StoreOptions
from cachecore.contract.plugins import backend_from_url
from cachecore.contract.protocols import CacheBackend
from cachecore.store.guard import Guard
from cachecore.testing.faulty import FaultyBackend
from tests.unit.store.guarded import Recording, until

T = TypeVar("T")


class Guarded:
    """The guard, the counting backend inside it, and who watches."""

    def __init__(self, backend: CacheBackend) -> None:
        self.store = FaultyBackend(backend)
        self.seen = Recording()
        self.guard = Guard(self.store, StoreOptions(), clock=SystemClock(), chance=random.Random(1), observer=self.seen)

    @property
    def state(self) -> str:
        return self.guard.states()[""]

    async def ask(self, keys: Sequence[str]) -> list[bytes | None] | BackendError:
        """Read, and return the error if there is one; anything else than a BackendError is a defect."""
        try:
            return await self.guard.get_many(keys)
        except BackendError as error:
            return error

    async def until_done(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call until the store has answered it; on a busy machine it may miss its deadline."""
        limit = time.monotonic() + 20
        while True:
            try:
                return await call()
            except BackendError:
                if time.monotonic() > limit:
                    raise
            await asyncio.sleep(0.005)

    async def insist(self, keys: Sequence[str]) -> list[bytes | None]:
        """Read until there is an answer."""
        return await self.until_done(lambda: self.guard.get_many(keys))

    async def opened(self) -> None:
        """Ask until the breaker opens."""
        while self.state != "open":
            assert isinstance(await self.ask(["k0"]), BackendError)

    async def well(self) -> None:
        """Ask until the server answers again, as a cache's callers would, one after the other."""
        await self.insist(["k0"])


@asynccontextmanager
async def guarded(url: str, backend: CacheBackend | None = None) -> AsyncIterator[Guarded]:
    """A guard on the server at `url` with fifty keys; leaving it checks that nothing is left behind."""
    before = asyncio.all_tasks()
    made = Guarded(backend or backend_from_url(url))
    await made.well()
    await made.until_done(lambda: made.guard.set_many({f"k{i}": b"%d" % i for i in range(50)}, ttl=None))
    try:
        yield made
    finally:
        await made.guard.aclose()
    await until(lambda: asyncio.all_tasks() <= before)
    assert made.guard.under_way == 0
