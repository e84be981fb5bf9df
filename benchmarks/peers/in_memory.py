"""Caches of this process that keep the object itself: async_lru, cachebox, cachetools, functools."""

from __future__ import annotations

import functools
import threading
from typing import Any, Final

import async_lru
import cachebox
import cachetools

from benchmarks.peers.interface import Opens, Peer, opens

ENTRIES: Final = 20_000


async def _get(cache: Any, key: str) -> Any:
    return cache.get(key)


async def _set(cache: Any, key: str, value: Any) -> None:
    cache[key] = value


def _opens(make: Any) -> Opens:
    return opens(lambda place: make(), _get, _set)


PEERS = [
    Peer(name="a plain dict", module="builtins", package="cachecore-framework", memory=_opens(dict)),
    Peer(
        name="async_lru",
        module="async_lru",
        package="async-lru",
        cached=lambda function: async_lru.alru_cache(maxsize=ENTRIES)(function),
    ),
    Peer(
        name="cachebox",
        module="cachebox",
        package="cachebox",
        memory=_opens(lambda: cachebox.TTLCache(ENTRIES, 3600)),
        cached=lambda function: cachebox.cached(cachebox.LRUCache(ENTRIES))(function),
        cached_sync=lambda function: cachebox.cached(cachebox.LRUCache(ENTRIES))(function),
    ),
    Peer(
        name="cachetools",
        module="cachetools",
        package="cachetools",
        memory=_opens(lambda: cachetools.TTLCache(ENTRIES, 3600)),
        cached_sync=lambda function: cachetools.cached(cachetools.TTLCache(ENTRIES, 3600), lock=threading.Lock())(
            function
        ),
    ),
    Peer(
        name="functools",
        module="functools",
        package="cachecore-framework",
        cached_sync=lambda function: functools.lru_cache(maxsize=ENTRIES)(function),
    ),
]
