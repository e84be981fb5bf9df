"""LiteLLM's caches: its own keys of a request, the object itself in memory, JSON on Redis."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from benchmarks.peers.in_memory import ENTRIES
from benchmarks.peers.interface import Opens, Peer, Store


def _opens(kind: str) -> Opens:
    @asynccontextmanager
    async def opened(place: str) -> AsyncIterator[Store]:
        os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # it asks the network for prices otherwise
        from litellm.caching.caching import Cache  # takes seconds to import

        address = urlsplit(place)
        options: dict[str, Any] = {"host": address.hostname, "port": str(address.port)} if kind == "redis" else {}
        cache = Cache(type=kind, **options)
        inner: Any = cache.cache
        if kind == "local":
            inner.max_size_in_memory = ENTRIES  # 200 by default

        yield Store(
            lambda request: inner.async_get_cache(cache.get_cache_key(**request)),
            lambda request, value: inner.async_set_cache(cache.get_cache_key(**request), value, ttl=3600),
        )
        if kind == "redis":
            await inner.disconnect()

    return opened


PEERS = [
    Peer(name="LiteLLM", module="litellm", package="litellm", memory=_opens("local"), redis=_opens("redis")),
]
