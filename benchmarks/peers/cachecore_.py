"""cachecore, with its defaults; and with its tier in memory off, so that every hit comes from the store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from benchmarks.peers.interface import Opens, Peer, Store, SyncStore
from cachecore import Cache, SyncCache

_kept: list[Any] = []
"""Caches of decorated functions: they live as long as the process, as an application's do."""


def _opens(**options: Any) -> Opens:
    @asynccontextmanager
    async def opened(place: str) -> AsyncIterator[Store]:
        url = place if "://" in place else f"sqlite:///{place}/answers.db"
        async with Cache[Any](url, ttl=3600, **options) as cache:
            yield Store(cache.get, cache.set, cache.get_or_set)

    return opened


@contextmanager
def _disk_sync(place: str) -> Iterator[SyncStore]:
    with SyncCache[Any](f"sqlite:///{place}/answers.db", ttl=3600, l1_max_entries=0) as cache:
        yield SyncStore(cache.get, cache.set)


@asynccontextmanager
async def _memory(place: str) -> AsyncIterator[Store]:
    async with _opens()("memory://") as store:
        yield store


def _cached(function: Callable[..., Any]) -> Callable[..., Any]:
    cache: Cache[Any] = Cache("memory://", ttl=3600)
    _kept.append(cache)
    return cache.cached(ttl=3600)(function)


def _cached_sync(function: Callable[..., Any]) -> Callable[..., Any]:
    cache: SyncCache[Any] = SyncCache("memory://", ttl=3600)
    _kept.append(cache)
    return cache.cached(ttl=3600)(function)


PEERS = [
    Peer(
        name="cachecore",
        module="cachecore",
        package="cachecore-framework",
        memory=_memory,
        cached=_cached,
        cached_sync=_cached_sync,
    ),
    Peer(
        name="cachecore, no copies in memory",
        module="cachecore",
        package="cachecore-framework",
        redis=_opens(l1_max_entries=0),
        disk=_opens(l1_max_entries=0),
        disk_sync=_disk_sync,
    ),
    Peer(
        name="cachecore, a tenth of the keys in memory",
        module="cachecore",
        package="cachecore-framework",
        redis=_opens(l1_max_entries=100),
    ),
]
