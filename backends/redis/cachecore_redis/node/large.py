"""Keys with large values: they are read over a separate connection, so that small replies do not wait behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import hiredis

from cachecore_redis.wire.connection import Reply

_MAX_LARGE: Final = 16_384

MISFIT: Final = object()
"""Stands for a reply of an impossible kind, one that belongs to another command."""


class LargeKeys:
    """Keys that had a large value when last read or written. Bounded: the least recently used are dropped.

    Shared by the loops of a process; each step is one operation on a dict.
    """

    def __init__(self, least: int) -> None:
        self.least = least
        self.keys: dict[str, None] = {}

    def record(self, key: str, size: int) -> bool:
        """Remember the size in bytes of the value of `key`; return whether it counts as large."""
        if size < self.least:
            if self.keys:
                self.keys.pop(key, None)
            return False
        self.keys.pop(key, None)  # to the end: the least recently used come first
        while len(self.keys) >= _MAX_LARGE:
            try:
                self.keys.pop(next(iter(self.keys)), None)
            except (StopIteration, RuntimeError):  # another loop's thread changed the dict meanwhile
                continue
        self.keys[key] = None
        return True

    def values_of(self, keys: Sequence[str], reply: Reply) -> Reply:
        """Return the values in the reply to a GET or MGET of `keys`, the error reply, or `MISFIT`."""
        least = self.least
        if type(reply) is list:
            if len(reply) != len(keys):
                return MISFIT
            for key, value in zip(keys, reply, strict=True):
                if type(value) is bytes:
                    if len(value) >= least:
                        self.record(key, len(value))
                elif value is not None:
                    return MISFIT
            return reply
        if type(reply) is bytes:
            if len(reply) >= least:
                self.record(keys[0], len(reply))
            return [reply]
        if reply is None or (len(keys) == 1 and str(reply).startswith("WRONGTYPE")):
            return [None]  # as MGET answers for a key of another type
        return reply if isinstance(reply, hiredis.ReplyError) else MISFIT
