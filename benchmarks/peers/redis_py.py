"""redis-py as most applications use it: JSON and SHA-256 of the request, GET, `json.loads`; with defaults and tuned.

Tuned has its timeouts off, which makes it faster and leaves it without protection against a server that hangs.
"""

from __future__ import annotations

import json
from typing import Any

from redis.asyncio import Redis

from benchmarks.peers.interface import Opens, Peer, opens, text_key

_TUNED = {"socket_timeout": None, "socket_connect_timeout": None}


async def _get(client: Any, key: str) -> Any:
    found = await client.get(key)
    return None if found is None else json.loads(found)


def _opens(**options: Any) -> Opens:
    return opens(
        # The pool must hold every task, or it raises from 100 tasks on.
        lambda url: Redis.from_url(url, max_connections=300, **options),
        _get,
        lambda client, key, value: client.set(key, json.dumps(value), ex=3600),
        lambda client: client.aclose(),
    )


PEERS = [
    Peer(name="redis-py, defaults", module="redis", package="redis", redis=_opens(), key=text_key),
    Peer(name="redis-py, timeouts off", module="redis", package="redis", redis=_opens(**_TUNED)),
]
