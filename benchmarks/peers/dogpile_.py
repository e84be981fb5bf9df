"""dogpile.cache: blocking; text as keys, the object itself in memory, pickle on Redis. A loop hands it to a thread."""

from __future__ import annotations

import asyncio
from typing import Any

from benchmarks.peers.interface import Peer, opens


def _region(backend: str, **arguments: Any) -> Any:
    from dogpile.cache import make_region

    return make_region().configure(f"dogpile.cache.{backend}", expiration_time=3600, arguments=arguments)


def _cached(function: Any) -> Any:
    region = _region("memory")
    # Its own key maker takes no keywords.
    made = region.cache_on_arguments(
        function_key_generator=lambda _, called, **__: lambda *given, **named: repr((given, sorted(named.items())))
    )
    return made(function)


async def _get(region: Any, key: str) -> Any:
    return region.get(key)


async def _set(region: Any, key: str, value: Any) -> None:
    region.set(key, value)


PEERS = [
    Peer(
        name="dogpile.cache",
        module="dogpile",
        package="dogpile.cache",
        memory=opens(lambda place: _region("memory"), _get, _set),
        redis=opens(
            lambda url: _region("redis", url=url, redis_expiration_time=3600, distributed_lock=False),
            lambda region, key: asyncio.to_thread(region.get, key),
            lambda region, key, value: asyncio.to_thread(region.set, key, value),
        ),
        cached_sync=_cached,
    )
]
