"""diskcache: a file of SQLite, values in pickle. Blocking in the loop, as it is fastest, and through a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import diskcache

from benchmarks.peers.interface import Peer, SyncStore, opens, text_key

_thread = ThreadPoolExecutor(1, "diskcache")


async def _get(cache: Any, key: str) -> Any:
    return cache.get(key)


async def _set(cache: Any, key: str, value: Any) -> None:
    cache.set(key, value, expire=3600)


async def _close(cache: Any) -> None:
    cache.close()


async def _get_in_thread(cache: Any, key: str) -> Any:
    return await asyncio.get_running_loop().run_in_executor(_thread, cache.get, key)


async def _set_in_thread(cache: Any, key: str, value: Any) -> Any:
    return await asyncio.get_running_loop().run_in_executor(_thread, cache.set, key, value, 3600)


async def _close_in_thread(cache: Any) -> None:
    await asyncio.get_running_loop().run_in_executor(_thread, cache.close)


@contextmanager
def _sync(folder: str) -> Iterator[SyncStore]:
    with _make(folder) as cache:
        yield SyncStore(
            lambda request: cache.get(text_key(request)),
            lambda request, value: cache.set(text_key(request), value, expire=3600),
        )


def _make(folder: str) -> Any:
    return diskcache.Cache(f"{folder}/diskcache")


PEERS = [
    Peer(
        name="diskcache, blocking the loop",
        module="diskcache",
        package="diskcache",
        disk=opens(_make, _get, _set, _close),
        disk_sync=_sync,
    ),
    Peer(
        name="diskcache, in a thread",
        module="diskcache",
        package="diskcache",
        disk=opens(_make, _get_in_thread, _set_in_thread, _close_in_thread),
    ),
]
