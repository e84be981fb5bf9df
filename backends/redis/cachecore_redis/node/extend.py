"""Longer lives for values, by the best method that the server has and its user may use.

    PEXPIRE … GT, GET     Redis 7 and Valkey: in one packet; a value that is ours after it was ours before it
    a script              older servers
    compare and swap      elsewhere: the value gets no end at all, since any other might be earlier than the one it has

The method is learned from the replies: a server refuses an unknown one without doing anything, and the next is tried.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import hiredis

from cachecore_redis.wire.commands import get, pack
from cachecore_redis.wire.connection import Reply
from cachecore_redis.wire.errors import unknown

# Returns 1 if the key has the value. A key without an end keeps none.
_SCRIPT: Final = b"""\
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '' then redis.call('PERSIST', KEYS[1]) return 1 end
local left = redis.call('PTTL', KEYS[1])
if left >= 0 and left < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 1"""

METHODS: Final = ("gt", "script", "swap")
NOTE: Final = "extend"


def commands_for(method: str, key: str, value: bytes, px: int | None) -> list[bytes]:
    """Return the commands that let `key` live for `px` milliseconds, None: for ever; none for the method `swap`."""
    if method == "gt":
        longer = pack(("PERSIST", key)) if px is None else pack(("PEXPIRE", key, px, "GT"))
        return [longer, get([key])]
    if method == "script":
        return [pack(("EVAL", _SCRIPT, 1, key, value, "" if px is None else px))]
    return []


def refused(replies: Sequence[Reply]) -> bool:
    """Return whether the server does not know a command of the method, or does not let this user have it."""
    return any(unknown(reply) for reply in replies)


def verdict(value: bytes, replies: Sequence[Reply]) -> Reply:
    """Return whether the key has the value, or the error reply."""
    for reply in replies:
        if isinstance(reply, hiredis.ReplyError):
            # A key of another type holds no value of ours.
            return False if "WRONGTYPE" in str(reply) else reply
    last = replies[-1]
    if type(last) is int:
        return last == 1
    return last == value if last is None or type(last) is bytes else last
