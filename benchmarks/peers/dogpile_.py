"""dogpile.cache: blocking; text as keys, the object itself in memory, pickle on Redis. A loop hands it to a thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from benchmarks.peers.interface import Compute, Peer, Request, Store, opens, text_key


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


async def _awaited(compute: Compute) -> Any:
    return await compute()


def _found(value: Any) -> Any:
    return value or None  # what stands for an absent value is false


async def _get(region: Any, key: str) -> Any:
    return _found(region.get(key))


async def _set(region: Any, key: str, value: Any) -> None:
    region.set(key, value)


@asynccontextmanager
async def _redis(url: str) -> AsyncIterator[Store]:
    region = _region(
        "redis", url=url, redis_expiration_time=3600, distributed_lock=True, thread_local_lock=False, lock_timeout=10
    )
    loop = asyncio.get_running_loop()

    async def get(request: Request) -> Any:
        return _found(await asyncio.to_thread(region.get, text_key(request)))

    def get_or_create(request: Request, compute: Compute) -> Any:
        def create() -> Any:
            return asyncio.run_coroutine_threadsafe(_awaited(compute), loop).result()

        return region.get_or_create(text_key(request), create)

    yield Store(
        get,
        lambda request, value: asyncio.to_thread(region.set, text_key(request), value),
        lambda request, compute: asyncio.to_thread(get_or_create, request, compute),
    )


PEERS = [
    Peer(
        name="dogpile.cache",
        module="dogpile",
        package="dogpile.cache",
        memory=opens(lambda place: _region("memory"), _get, _set),
        redis=_redis,
        cached_sync=_cached,
    )
]
