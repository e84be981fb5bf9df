"""aiocache: text as keys; in memory the object itself, on Redis JSON."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import aiocache
from aiocache.serializers import JsonSerializer

from benchmarks.peers.interface import Opens, Peer, opens


def _redis(url: str) -> Any:
    from redis.asyncio import Redis

    address = urlsplit(url)
    host, port, database = address.hostname or "127.0.0.1", address.port or 6379, int(address.path.strip("/") or 0)
    if int(aiocache.__version__.split(".")[0]) >= 1:
        return aiocache.RedisCache(Redis(host=host, port=port, db=database), serializer=JsonSerializer())
    return aiocache.RedisCache(endpoint=host, port=port, db=database, serializer=JsonSerializer(), pool_max_size=256)


def _opens(make: Any) -> Opens:
    return opens(
        make,
        lambda cache, key: cache.get(key),
        lambda cache, key, value: cache.set(key, value, ttl=3600),
        lambda cache: cache.close(),
    )


PEERS = [
    Peer(
        name="aiocache",
        module="aiocache",
        package="aiocache",
        memory=_opens(lambda place: aiocache.SimpleMemoryCache()),
        redis=_opens(_redis),
        cached=lambda function: aiocache.cached(ttl=3600)(function),
    )
]
