"""The Redis and Valkey backend of cachecore.

    backend = cachecore_redis.from_url("redis://localhost:6379/0")

Importing this does not import redis-py, which takes a third of a second: that happens with the first connection.
"""

from __future__ import annotations

from cachecore_redis.backend import RedisBackend, from_url
from cachecore_redis.client import ClientBackend

__all__ = ["ClientBackend", "RedisBackend", "from_url"]
