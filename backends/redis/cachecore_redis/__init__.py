"""The Redis and Valkey backend of cachecore.

    backend = cachecore_redis.from_url("redis://localhost:6379/0")

Importing this does not import redis-py, which takes a third of a second: that happens when a backend is built.
"""

from __future__ import annotations

from cachecore_redis.backend import RedisBackend
from cachecore_redis.client import ClientBackend
from cachecore_redis.cluster.backend import ClusterBackend
from cachecore_redis.sentinel import SentinelBackend
from cachecore_redis.wire.address import RedisOptions

__all__ = ["ClientBackend", "ClusterBackend", "RedisBackend", "RedisOptions", "SentinelBackend", "from_url"]


def from_url(url: str) -> RedisBackend | ClusterBackend:
    """Return the backend for a URL, chosen by its scheme; connects when first used.

    `redis`, `rediss` (TLS), `unix`: one server. `redis+sentinel`, `rediss+sentinel`: the primary that Sentinels name.
    `redis+cluster`, `rediss+cluster`: a cluster.

    Raises:
        OptionsError: the URL or a setting in it is wrong.
    """
    if url.partition("://")[0].endswith("+cluster"):
        return ClusterBackend(url)
    if url.partition("://")[0].endswith("+sentinel"):
        return SentinelBackend(url)
    return RedisBackend(url)
