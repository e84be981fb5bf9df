"""Listing the keys of one server, complete even if the connection is lost meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from cachecore_redis.node.node import Node
from cachecore_redis.wire import commands
from cachecore_redis.wire.connection import Connection
from cachecore_redis.wire.errors import backend_error

_BEGINNINGS: Final = 5
"""Times that a listing is begun before it fails: one that is interrupted again and again would never end."""


async def pages(node: Node, prefix: str) -> AsyncIterator[list[str]]:
    """Yield the live keys that start with `prefix`: SCAN, which never blocks the server for long.

    A cursor is valid only in the server process that gave it: another one (after a restart or a failover) orders its
    keys differently, and would skip some silently. So each new connection begins at the beginning.

    Raises:
        BackendError: a page failed, or the connection was lost too often to reach the end.
    """
    via = node.main
    connection: Connection | None = None
    cursor = b"0"
    begun = 0
    while True:
        now = via.current or await via.ready("scan")
        if now is not connection:
            if begun == _BEGINNINGS:
                raise backend_error("scan", "reset", True)
            connection, cursor = now, b"0"
            begun += 1
        try:
            reply = await connection.request(commands.scan(cursor, prefix))
        except ConnectionResetError:
            connection = None
            continue
        except OSError as error:
            raise via.loss_error("scan", error) from error
        if type(reply) is not list:
            raise node.reply_error("scan", reply)
        cursor, keys = reply
        if keys:
            yield [str(key, "latin-1") for key in keys]
        if cursor == b"0":
            return
