"""Listing the keys of one server, whatever happens to the connection meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from cachecore_redis.node.node import Node
from cachecore_redis.wire import commands
from cachecore_redis.wire.connection import Lane
from cachecore_redis.wire.errors import failure

_BEGINNINGS: Final = 5
"""Times that a listing is begun before it fails: one that is cut off again and again would have no end."""


async def pages(node: Node, prefix: str) -> AsyncIterator[list[str]]:
    """Yield the live keys that start with `prefix`: SCAN, which never blocks the server for long.

    A cursor means something to the process that gave it only: another one (after a restart, after a failover) numbers
    its keys otherwise, and would pass over some without a word. So each new connection begins at the beginning.

    Raises:
        BackendError: a page failed, or the connection was lost too often to come to the end.
    """
    way = node.main
    lane: Lane | None = None
    cursor = b"0"
    begun = 0
    while True:
        now = way.lane or await way.ready("scan")
        if now is not lane:
            if begun == _BEGINNINGS:
                raise failure("scan", "reset", True)
            lane, cursor = now, b"0"
            begun += 1
        try:
            reply = await lane.request(commands.scan(cursor, prefix))
        except ConnectionResetError:
            lane = None
            continue
        except OSError as error:
            raise way.failure("scan", error) from error
        if type(reply) is not list:
            raise node.refused("scan", reply)
        cursor, found = reply
        if found:
            yield [str(key, "latin-1") for key in found]
        if cursor == b"0":
            return
