"""cashews: text as keys, values in pickle."""

from __future__ import annotations

from typing import Any

import cashews

from benchmarks.peers.interface import Opens, Peer, opens


def _cache(url: str) -> Any:
    cache = cashews.Cache()
    cache.setup(url)
    return cache


def _opens(url: str | None = None) -> Opens:
    return opens(
        lambda place: _cache(url or place),
        lambda cache, key: cache.get(key),
        lambda cache, key, value: cache.set(key, value, expire=3600),
        lambda cache: cache.close(),
    )


PEERS = [
    Peer(
        name="cashews",
        module="cashews",
        package="cashews",
        memory=_opens("mem://?size=20000"),
        redis=_opens(),
        cached=lambda function: _cache("mem://?size=20000").cache(ttl=3600)(function),
    )
]
