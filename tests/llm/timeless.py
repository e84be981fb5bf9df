"""A real server whose clock is not asked, so that a test can move time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence

from cachecore_redis import RedisBackend


class TimelessBackend:
    """A Redis backend without `time` and `feed`: entries age by the clock that the cache was given."""

    def __init__(self, url: str) -> None:
        self._inner = RedisBackend(url)

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        return await self._inner.get_many(keys)

    async def set_many(self, items: Mapping[str, bytes], *, ttl: float | None) -> None:
        await self._inner.set_many(items, ttl=ttl)

    async def delete_many(self, keys: Sequence[str]) -> int:
        return await self._inner.delete_many(keys)

    async def swap(self, key: str, old: bytes | None, new: bytes | None, *, ttl: float | None) -> bool:
        return await self._inner.swap(key, old, new, ttl=ttl)

    def scan(self, prefix: str) -> AsyncIterator[Sequence[str]]:
        return self._inner.scan(prefix)

    async def aclose(self) -> None:
        await self._inner.aclose()
