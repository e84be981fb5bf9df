"""In which order the writes of a key reach the server, though they may take two lanes.

A caller who gives up a large write leaves it on its way, over the lane of large values; a small write of the same key
over another lane would be acknowledged before it, and then be overwritten by what is older. So whatever is written
under a key follows a write of that key that the server has not answered yet, over the same lane.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

from cachecore_redis.wire.connection import Lane, Reply


class OnTheWay:
    """The keys of writes that went over one lane and are not answered. One for each node and loop."""

    def __init__(self) -> None:
        self._keys: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._keys)

    def holds(self, keys: Sequence[str]) -> bool:
        """Return whether a write of one of these keys is on its way."""
        return bool(self._keys) and not self._keys.keys().isdisjoint(keys)

    async def send(self, lane: Lane, keys: Sequence[str], batch: list[bytes]) -> list[Reply]:
        """Send the writes of `keys` together; return their replies. They stay known until `lane` has them or is lost.

        Raises:
            OSError: the lane is lost.
        """
        replies = lane.request_many(batch)
        self._keys.update(keys)

        def ended(future: asyncio.Future[list[Reply]]) -> None:
            self._keys.subtract(keys)
            for key in keys:
                if self._keys[key] <= 0:
                    del self._keys[key]
            if not future.cancelled():
                future.exception()  # nobody may be left to be told

        replies.add_done_callback(ended)
        return await asyncio.shield(replies)  # who gives up does not take it off the list
