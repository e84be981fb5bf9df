"""`RedisBackend`: clients of its own, one for each process and event loop that uses it."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING

from cachecore.errors import BackendUnavailable
from cachecore_redis.client import ClientBackend

if TYPE_CHECKING:
    from redis.asyncio import Redis


class RedisBackend:
    """CacheBackend on a Redis or Valkey server named by a URL."""

    def __init__(self, url: str | Redis) -> None:
        self._url = url
        self._process = os.getpid()
        self._loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, ClientBackend] = weakref.WeakKeyDictionary()
        self._inherited: list[object] = []
        self._closed = False

    def __repr__(self) -> str:
        return "RedisBackend()"

    @staticmethod
    def from_client(client: Redis) -> ClientBackend:
        """Return a backend on the caller's own client, which stays the caller's to close."""
        return ClientBackend(client)

    def _backend(self, operation: str) -> ClientBackend:
        if self._closed:
            raise BackendUnavailable(operation, transient=False, reason="closed")
        if self._process != os.getpid():
            self._inherited.append(self._loops)  # kept, so that nothing closes the parent's sockets
            self._loops = weakref.WeakKeyDictionary()
            self._process = os.getpid()
        loop = asyncio.get_running_loop()
        found = self._loops.get(loop)
        if found is None:
            found = self._loops[loop] = ClientBackend(self._client())
        return found

    def _client(self) -> Redis:
        if not isinstance(self._url, str):
            return self._url
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        client: Redis = Redis.from_url(
            self._url, socket_timeout=1.0, socket_connect_timeout=1.0, retry=Retry(NoBackoff(), 0), max_connections=1024
        )
        return client

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the live values in the order of `keys`."""
        return await self._backend("get_many").get_many(keys)

    async def set_many(self, items: Mapping[str, bytes], *, ttl: float | None) -> None:
        """Replace each key; it lives `ttl` seconds, or until evicted if None."""
        await self._backend("set_many").set_many(items, ttl=ttl)

    async def delete_many(self, keys: Sequence[str]) -> int:
        """Delete the keys and return how many existed."""
        return await self._backend("delete_many").delete_many(keys)

    async def swap(self, key: str, old: bytes | None, new: bytes | None, *, ttl: float | None) -> bool:
        """Make the value `new` if it is `old` now; return whether it was."""
        return await self._backend("swap").swap(key, old, new, ttl=ttl)

    def scan(self, prefix: str) -> AsyncIterator[Sequence[str]]:
        """Yield the live keys that start with `prefix`, in pages."""
        return self._backend("scan").scan(prefix)

    async def time(self) -> float:
        """Return the server's clock, Unix seconds."""
        return await self._backend("time").time()

    async def aclose(self) -> None:
        """Close the connections of the running loop. Idempotent."""
        self._closed = True
        found = self._loops.pop(asyncio.get_running_loop(), None)
        if found is not None and isinstance(self._url, str):
            await found._client.aclose()  # noqa: SLF001 - made here


def from_url(url: str) -> RedisBackend:
    """Return the backend that `redis://`, `rediss://` or `unix://` means; connects when first used."""
    return RedisBackend(url)
