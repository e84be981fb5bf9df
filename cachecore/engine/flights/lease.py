"""One computation among processes: a short-lived token in the store, taken, renewed and given back with `swap`.

Leases are advice (Nishtala et al., "Scaling Memcache at Facebook", NSDI 2013): two holders cost a second computation,
never a wrong answer. They are short and renewed, so that a holder that is killed is replaced soon. A holder that ends
without an entry leaves a mark for those who waited for it: they compute at once instead of waiting in a row.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from typing import Final

from cachecore.contract.errors import BackendError
from cachecore.contract.protocols import CacheBackend

_ENDED: Final = b"ended:"


TOKEN_BYTES: Final = 16


def random_token() -> bytes:
    """Return a token that no other holder has."""
    return os.urandom(TOKEN_BYTES)


class Lease:
    """The right to compute one key, asked for under the lease key `key`.

    Belongs to one task. `ttl` is how long it lives without being renewed, in seconds.
    """

    def __init__(
        self, backend: CacheBackend, key: str, *, ttl: float, token: Callable[[], bytes] = random_token
    ) -> None:
        self._backend = backend
        self._key = key
        self._ttl = ttl
        self._token = self._value = token()
        self._renewing: asyncio.Task[None] | None = None

    @property
    def held(self) -> bool:
        """Whether it was won, and not yet given back."""
        return self._renewing is not None

    async def acquire(self) -> bytes | None:
        """Take the lease, or return who holds it (an opaque token); None means it is ours. Raises BackendError."""
        known: bytes | None = None
        for _ in range(3):  # the holder may change between the two calls
            # Whom it came after is part of it, so that who waited for that one learns that it ended.
            self._value = self._token if known is None else self._token + known[len(_ENDED) :]
            try:
                won = await self._backend.swap(self._key, known, self._value, ttl=self._ttl)
            except asyncio.CancelledError:
                # The store may carry it out all the same, and who comes next would wait for a holder that is gone.
                await self._give_back(stored=False)
                raise
            if won:
                self._renewing = asyncio.get_running_loop().create_task(self._renew(), name="cachecore-lease")
                return None
            (known,) = await self._backend.get_many([self._key])
            if known is not None and not known.startswith(_ENDED):
                return known
        return known if known is not None else b"?"

    async def release(self, *, stored: bool) -> None:
        """Give the lease back; unless an entry was `stored`, tell those who wait that none will come.

        Does nothing for a lease that is not held. A store that fails is left to the lease's own ttl.
        """
        task, self._renewing = self._renewing, None
        if task is None:
            return
        task.cancel()
        await self._give_back(stored=stored)

    async def _give_back(self, *, stored: bool) -> None:
        mark = None if stored else _ENDED + self._token
        try:
            await self._backend.swap(self._key, self._value, mark, ttl=self._ttl)
        except BackendError:
            pass  # counted where it happened; the lease ends by itself

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._ttl / 3)
            try:
                if await self._backend.swap(self._key, self._value, self._value, ttl=self._ttl):
                    continue
                # It ran out while this loop was blocked. If nobody has taken it since, it is ours again; if somebody
                # has, both compute, which costs a call and nothing more.
                if not await self._backend.swap(self._key, None, self._value, ttl=self._ttl):
                    return
            except BackendError:
                continue  # it may be back before the lease has run out


def ended(seen: bytes | None, holder: bytes) -> bool:
    """Return whether what lies under a lease key says that `holder` ended without an entry."""
    if seen is None:
        return False
    token = holder[:TOKEN_BYTES]
    return seen == _ENDED + token or seen[TOKEN_BYTES:] == token


class Wakeups:
    """Those of one event loop who wait for the entry of a key, so that the feed can wake them early."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    async def wait(self, key: str, seconds: float) -> None:
        """Return after `seconds`, or as soon as `key` is said to have changed."""
        future: asyncio.Future[None] = self._loop.create_future()
        waiting = self._waiting.setdefault(key, set())
        waiting.add(future)
        timer = self._loop.call_later(seconds, _finish, future)
        try:
            await future
        finally:
            timer.cancel()
            waiting.discard(future)
            if not waiting and self._waiting.get(key) is waiting:
                del self._waiting[key]

    def wake(self, keys: Iterable[str]) -> None:
        """Wake who waits for one of `keys`. May be called from another thread."""
        if not self._waiting:
            return
        for key in keys:
            if key in self._waiting:
                self._loop.call_soon_threadsafe(self._wake, key)

    def _wake(self, key: str) -> None:
        for future in self._waiting.get(key, ()):
            _finish(future)


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
