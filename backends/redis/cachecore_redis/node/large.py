"""Which keys have large values: those take a lane of their own, so that nothing small waits behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import hiredis

from cachecore_redis.wire.connection import Reply

_MAX_LARGE: Final = 16_384

MISFIT: Final = object()
"""Instead of a reply that cannot be the answer to what was asked."""


class LargeKeys:
    """Keys whose values were seen to be large: read them over the lane of large values. Bounded, oldest out.

    Shared by the loops of a process; each step is one operation on a dict.
    """

    def __init__(self, least: int) -> None:
        self.least = least
        self.keys: dict[str, None] = {}

    def seen(self, key: str, size: int) -> bool:
        """Remember how large the value of `key` is; return whether it counts as large."""
        if size < self.least:
            if self.keys:
                self.keys.pop(key, None)
            return False
        self.keys.pop(key, None)  # so that those that are not used come first
        while len(self.keys) >= _MAX_LARGE:
            try:
                self.keys.pop(next(iter(self.keys)), None)
            except (StopIteration, RuntimeError):  # another loop's thread was there in the same moment
                continue
        self.keys[key] = None
        return True

    def noted(self, keys: Sequence[str], reply: Reply) -> Reply:
        """Return the reply to a GET or MGET of `keys` as a list of values, the error reply, or `MISFIT`."""
        least = self.least
        if type(reply) is list:
            if len(reply) != len(keys):
                return MISFIT
            for key, value in zip(keys, reply, strict=True):
                if type(value) is bytes:
                    if len(value) >= least:
                        self.seen(key, len(value))
                elif value is not None:
                    return MISFIT
            return reply
        if type(reply) is bytes:
            if len(reply) >= least:
                self.seen(keys[0], len(reply))
            return [reply]
        if reply is None or (len(keys) == 1 and str(reply).startswith("WRONGTYPE")):
            return [None]  # as MGET answers for a key of another type
        return reply if isinstance(reply, hiredis.ReplyError) else MISFIT
