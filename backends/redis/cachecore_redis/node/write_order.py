"""The order in which the writes of a key reach the server, although they may use two connections.

A cancelled caller leaves its large write in transit, on the connection for large values. A small write of the same key
on another connection could be acknowledged first, and then be overwritten by the older value. So a write of a key
follows an unanswered large write of that key on the same connection.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

from cachecore_redis.wire.connection import Connection, Reply


class WriteOrder:
    """The keys of unanswered writes on one connection. One for each node and loop."""

    def __init__(self) -> None:
        self._keys: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._keys)

    def holds(self, keys: Sequence[str]) -> bool:
        """Return whether a write of one of these keys is unanswered."""
        return bool(self._keys) and not self._keys.keys().isdisjoint(keys)

    async def send(self, connection: Connection, keys: Sequence[str], batch: list[bytes]) -> list[Reply]:
        """Send the writes of `keys` together; return their replies. Cancelling the caller leaves `keys` unanswered.

        Raises:
            OSError: the connection is lost.
        """
        replies = connection.request_many(batch)
        self._keys.update(keys)

        def ended(future: asyncio.Future[list[Reply]]) -> None:
            self._keys.subtract(keys)
            for key in keys:
                if self._keys[key] <= 0:
                    del self._keys[key]
            if not future.cancelled():
                future.exception()  # retrieved: the caller may be gone

        replies.add_done_callback(ended)
        return await asyncio.shield(replies)  # a cancelled caller must not cancel it
