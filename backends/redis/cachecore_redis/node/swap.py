"""Compare and swap, by the best method that the server has and its user may use.

    SET … NX                          absent -> value: every server
    SET … IFEQ, DELIFEQ, DELEX        Valkey 8.1 and 9.0, Redis 8.4: one command
    a cached script                   older servers
    WATCH, MULTI                      on another connection, where scripts are switched off or forbidden

The method is learned from the replies: a server refuses an unknown one without doing anything, and the next is tried.
The result holds for the connection.

A server that evicts by frequency (LFU) hands the count of a value's uses to the value that replaces it. An answer that
replaces its computation's claim would then begin with the uses of the claim, and answers asked for once would look as
useful as those asked for twice (3 points fewer hits where a quarter of the answers fit). There the script deletes the
key first, so that the new value begins its own count. Whether the policy is LFU is asked for behind the first swap,
once: a proxy that closes a connection at a command it does not know does so once.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import hiredis

from cachecore_redis.wire.commands import ASKING, EXEC, MULTI, UNWATCH, delete, get, pack, set_
from cachecore_redis.wire.connection import Connection, Reply
from cachecore_redis.wire.errors import unknown

# Values are compared as bytes; a missing key is `false`. Returns 1 if it was swapped.
_SCRIPT: Final = b"""\
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[4] == 'anew' then redis.call('DEL', KEYS[1]) end
if ARGV[2] == 'del' then redis.call('DEL', KEYS[1])
elseif ARGV[2] == '' then redis.call('SET', KEYS[1], ARGV[3])
else redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[2]) end
return 1"""
_SHA: Final = hashlib.sha1(_SCRIPT, usedforsecurity=False).hexdigest()

_WRITE: Final = ("ifeq", "script", "watch")
_DELETE: Final = ("delifeq", "delex", "script", "watch")
_WRITES: Final = "swap: write"
_DELETES: Final = "swap: delete"


def methods(connection: Connection) -> tuple[str, str]:
    """Return the methods for replacing and for deleting on `connection`, as far as is known."""
    return _WRITE[connection.notes.get(_WRITES, 0)], _DELETE[connection.notes.get(_DELETES, 0)]


class Swapper:
    """Compare and swap on one server. One for each node and loop."""

    def __init__(self) -> None:
        self._watching = asyncio.Lock()
        self._by_frequency: bool | None = None
        """Whether the server evicts by frequency; None: it was not asked yet."""

    async def swap(
        self,
        connection: Connection,
        watch_connection: Callable[[], Awaitable[Connection]],
        key: str,
        old: bytes | None,
        new: bytes | None,
        px: int | None,
        *,
        asking: bool = False,
    ) -> Reply:
        """Return True or False, or the error reply of the server."""
        if old is None:
            return await self._from_absent(connection, key, new, px, asking)
        name, order = (_DELETES, _DELETE) if new is None else (_WRITES, _WRITE)
        # What is as long is a claim that its holder renews: the longer it lasts, the more it is in use.
        if new is not None and self._by_frequency and len(new) != len(old) and not asking:
            reply = await self._script(connection, key, old, new, px, anew=True)
            if not unknown(reply):
                return _swapped(reply)
            self._by_frequency = False
        while True:
            at = connection.notes.get(name, 0)
            if order[at] == "watch":
                return await self._watched(await watch_connection(), key, old, new, px, asking)
            reply = await self._one_command(connection, order[at], key, old, new, px, asking)
            if not unknown(reply):
                return _swapped(reply)
            connection.notes[name] = max(connection.notes.get(name, 0), at + 1)

    async def _from_absent(
        self, connection: Connection, key: str, new: bytes | None, px: int | None, asking: bool
    ) -> Reply:
        if new is None:
            reply = await _send(connection, pack(("EXISTS", key)), asking)
            return reply == 0 if type(reply) is int else reply
        reply = await _send(connection, set_(key, new, px, "NX"), asking)
        if self._by_frequency is None and reply is not None and not asking:
            self._by_frequency = False
            with suppress(ConnectionResetError):
                connection.send(pack(("OBJECT", "FREQ", key))).add_done_callback(self._learn)
        return _swapped(reply)

    def _learn(self, uses: asyncio.Future[Reply]) -> None:
        # An error says that it is another policy, or that the user may not ask.
        if not uses.cancelled() and uses.exception() is None and isinstance(uses.result(), int):
            self._by_frequency = True

    async def _one_command(
        self, connection: Connection, method: str, key: str, old: bytes, new: bytes | None, px: int | None, asking: bool
    ) -> Reply:
        if method == "delifeq":
            return await _send(connection, pack(("DELIFEQ", key, old)), asking)
        if method == "delex":
            return await _send(connection, pack(("DELEX", key, "IFEQ", old)), asking)
        if method == "ifeq":
            return await _send(connection, set_(key, new or b"", px, "IFEQ", old), asking)
        return await self._script(connection, key, old, new, px, asking=asking)

    async def _script(
        self,
        connection: Connection,
        key: str,
        old: bytes,
        new: bytes | None,
        px: int | None,
        *,
        asking: bool = False,
        anew: bool = False,
    ) -> Reply:
        how = "del" if new is None else "" if px is None else px
        arguments = (1, key, old, how, new or b"", "anew" if anew else "")
        reply = await _send(connection, pack(("EVALSHA", _SHA, *arguments)), asking)
        if isinstance(reply, hiredis.ReplyError) and str(reply).startswith("NOSCRIPT"):
            reply = await _send(connection, pack(("EVAL", _SCRIPT, *arguments)), asking)
        return reply

    async def _watched(
        self, connection: Connection, key: str, old: bytes, new: bytes | None, px: int | None, asking: bool
    ) -> Reply:
        ask = [ASKING] if asking else []
        async with self._watching:
            # UNWATCH first: a caller that was cancelled between the two steps left its watch behind.
            *_, watched, value = await connection.request_many([UNWATCH, *ask, pack(("WATCH", key)), *ask, get([key])])
            for reply in (watched, value):
                if isinstance(reply, hiredis.ReplyError):
                    return _swapped(reply)
            if value != old:
                return False
            write = delete([key]) if new is None else set_(key, new, px)
            replies = await connection.request_many([*ask, MULTI, write, EXEC])
        done = replies[-1]  # None: another write came between, so the value is not `old` any more
        # The reply to the write comes first: it has the reason or the redirection, EXEC only that there was an error.
        answers = (*replies, *done) if isinstance(done, list) else replies
        refused = [reply for reply in answers if isinstance(reply, hiredis.ReplyError)]
        return refused[0] if refused else done is not None


async def _send(connection: Connection, command: bytes, asking: bool) -> Reply:
    if asking:
        return (await connection.request_many([ASKING, command]))[1]
    return await connection.request(command, write=True)


def _swapped(reply: Reply) -> Reply:
    if isinstance(reply, hiredis.ReplyError):
        # A key of another type holds no value of ours, so not the expected one either.
        return False if "WRONGTYPE" in str(reply) else reply
    if reply is None or reply == 0:
        return False
    return True if reply in (b"OK", 1) else reply  # otherwise a reply that belongs to another command
