"""The floor of a hit on Redis: one MGET for all readers of a turn of the loop, a key, and decoding. No checks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from benchmarks.peers.interface import Peer, Request, Store
from cachecore.keys import KeySpace
from cachecore.keys.hashers import sha256
from cachecore_redis import RedisBackend


class _Lane:
    def __init__(self, url: str) -> None:
        self.backend = RedisBackend(url)
        self._key = KeySpace("plain", "", sha256()).key
        self._waiting: dict[str, list[asyncio.Future[bytes | None]]] = {}

    async def get(self, request: Request) -> Any:
        key = self._key(request)
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._send)
        future: asyncio.Future[bytes | None] = loop.create_future()
        self._waiting.setdefault(key, []).append(future)
        found = await future
        return None if found is None else json.loads(found)

    async def set(self, request: Request, value: Any) -> None:
        await self.backend.set_many({self._key(request): json.dumps(value).encode()}, ttl=3600)

    def _send(self) -> None:
        waiting, self._waiting = self._waiting, {}
        answer = asyncio.ensure_future(self.backend.get_many(list(waiting)))

        def give(answered: asyncio.Future[list[bytes | None]]) -> None:
            for futures, value in zip(waiting.values(), answered.result(), strict=True):
                for future in futures:
                    future.set_result(value)

        answer.add_done_callback(give)


@asynccontextmanager
async def _opened(url: str) -> AsyncIterator[Store]:
    lane = _Lane(url)
    try:
        yield Store(lane.get, lane.set)
    finally:
        await lane.backend.aclose()


PEERS = [
    Peer(name="floor: lane, key, decoding", module="cachecore", package="cachecore-framework", redis=_opened),
]
