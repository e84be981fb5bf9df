"""One server as one event loop sees it: the connections to it, and the commands sent over them.

Small commands share a connection (or a few). Large values have another one, so that small replies do not wait behind
them, and so has WATCH, which is a state of its connection. The last two are opened when first needed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, Final

import hiredis

from cachecore.contract import BackendError, Link
from cachecore_redis.node import extend
from cachecore_redis.node.feed import Feeds
from cachecore_redis.node.large import LargeKeys
from cachecore_redis.node.receivers import BatchReceiver, ReadInFlight, Refused
from cachecore_redis.node.swap import Swapper
from cachecore_redis.node.write_order import WriteOrder
from cachecore_redis.wire import commands
from cachecore_redis.wire.address import RedisOptions
from cachecore_redis.wire.connection import Connection, Reply
from cachecore_redis.wire.errors import reply_error, unknown
from cachecore_redis.wire.reconnecting import Backoff, Dialer, ReconnectingConnection

_WRONG_SERVER = frozenset({"readonly", "auth", "moved"})
_PLAIN_DELETE: Final = "no unlink"
_LARGE_BATCHES: Final = 64
"""Small values that together are as large as this many large ones are sent over the connection for large values."""


class Node:
    """The connections of one loop to one server. Used only in that loop."""

    def __init__(self, dialer: Dialer, backoff: Backoff, options: RedisOptions, large: LargeKeys) -> None:
        self.connections = [ReconnectingConnection(dialer, backoff) for _ in range(options.connections)]
        self.main = self.connections[0]
        self.feeds = Feeds(self.main, options.heartbeat)
        self.swapper = Swapper()
        self.bulk = ReconnectingConnection(dialer, backoff)
        self._watch = ReconnectingConnection(dialer, backoff)
        self._write_order = WriteOrder()
        self.large = large
        self._next = 0 if options.connections > 1 else None
        self._tasks: set[asyncio.Task[None]] = set()

    def next_connection(self) -> ReconnectingConnection:
        """Return the connection for the next small command: each in turn."""
        if self._next is None:
            return self.main
        self._next = (self._next + 1) % len(self.connections)
        return self.connections[self._next]

    def _all_connections(self) -> tuple[ReconnectingConnection, ...]:
        return (*self.connections, self.bulk, self._watch)

    def link(self, key: str) -> Link | None:
        """Return the connection over which a read of `key` goes; see `SupportsLinks`."""
        if key in self.large.keys:
            return self.bulk.link()
        if self._next is None:
            return self.main.link()
        links = [connection.link() for connection in self.connections]
        return None if None in links else max(filter(None, links), key=lambda link: link.since)

    def restart(self) -> None:
        """Leave the server at once: another one has taken its place."""
        for connection in self._all_connections():
            connection.restart()

    def close(self) -> None:
        """Close all connections."""
        self.feeds.close()
        for connection in self._all_connections():
            connection.close()

    # Requests

    async def ask(self, operation: str, command: bytes, *, via: ReconnectingConnection | None = None) -> Reply:
        """Return the reply to one command, error replies too. Raises `BackendError` if none came."""
        via = via or self.next_connection()
        connection = via.current or await via.ready(operation)
        try:
            return await connection.request(command)
        except OSError as error:
            raise via.loss_error(operation, error) from error

    async def ask_behind(self, operation: str, command: bytes) -> Reply:
        """Return the reply to a command that goes right behind the small writes of this tick, in one packet."""
        connection = self.main.current or await self.main.ready(operation)
        connection.joins_writes = True
        return await self.ask(operation, command, via=self.main)

    async def read(self, operation: str, command: bytes, *, via: ReconnectingConnection | None = None) -> Reply:
        """Return the reply to a command that may be sent twice.

        A server closes connections that were idle too long, and the close may cross with a command. So a command that
        was unanswered on a closed connection is sent again on the next one, once.
        """
        via = via or self.next_connection()
        connection = via.current or await via.ready(operation)
        try:
            return await connection.request(command)
        except ConnectionResetError:
            return await self.ask(operation, command, via=via)
        except OSError as error:
            raise via.loss_error(operation, error) from error

    async def ask_many(
        self,
        operation: str,
        batch: list[bytes],
        *,
        via: ReconnectingConnection | None = None,
        twice: bool = False,
        write: bool = False,
    ) -> list[Reply]:
        """Return the replies to commands sent together; `twice` if they may be sent twice, as `read` does."""
        via = via or self.next_connection()
        connection = via.current or await via.ready(operation)
        try:
            return await connection.request_many(batch, write=write)
        except ConnectionResetError as error:
            if twice:
                return await self.ask_many(operation, batch, via=via)
            raise via.loss_error(operation, error) from error
        except OSError as error:
            raise via.loss_error(operation, error) from error

    def reply_error(self, operation: str, reply: Reply) -> BackendError:
        """Return the error for an error reply; leave a server that says it is the wrong one.

        Any other reply here belongs to another command: replies were lost or doubled, and can no longer be matched to
        commands, so all connections are closed.
        """
        error = reply_error(operation, reply)
        if not isinstance(reply, hiredis.ReplyError):
            for connection in self._all_connections():
                if connection.current is not None:
                    connection.current.close()
        if error.reason in _WRONG_SERVER and error.transient:
            for connection in self._all_connections():
                connection.replace()
        return error

    # Commands

    def begin_get_many(self, keys: Sequence[str]) -> asyncio.Future[list[bytes | None]] | None:
        """Begin to read `keys` on the open connection; return None if that takes more than sending a command."""
        large, connection = self.large.keys, self._open_main()
        if connection is None or self._next is not None or (large and not large.keys().isdisjoint(keys)):
            return None
        return ReadInFlight(self, keys, connection)

    def begin_set_many(self, items: Mapping[str, bytes], px: int | None) -> asyncio.Future[None] | None:
        """Begin to write small `items` on the open connection; None likewise. The future fails at any refused SET."""
        connection, least = self._open_main(), self.large.least
        if connection is None or (len(self._write_order) and self._write_order.holds(list(items))):
            return None
        size = 0
        for value in items.values():
            size += len(value)
            if len(value) >= least:
                return None
        if size >= least * _LARGE_BATCHES:
            return None
        if self.large.keys:
            for key, value in items.items():
                self.large.record(key, len(value))
        batch = [commands.set_(key, value, px) for key, value in items.items()]
        return BatchReceiver(self, "set_many", batch, _all_set).begin(connection, write=True)

    def lost(self, operation: str, error: OSError) -> BackendError:
        """Return the error for the loss of the connection for small commands."""
        return self.main.loss_error(operation, error)

    def begin_advance(self, key: str) -> asyncio.Future[int] | None:
        """Begin to raise a counter, in one packet with the small write before it; return None likewise."""
        connection = self._open_main()
        if connection is None:
            return None
        connection.joins_writes = True
        anew = partial(self._begun_anew, key)
        return BatchReceiver(self, "advance", [commands.incr(key)], _number, anew).begin(connection)

    def _begun_anew(self, key: str, reply: Reply) -> Coroutine[Any, Any, int] | None:
        return self.begin_anew(key) if commands.begins_anew(reply) else None

    async def begin_anew(self, key: str) -> int:
        """Let a counter begin anew, in place of what lies under its key and is none. Raises `BackendError`."""
        reply = await self.ask("advance", commands.set_(key, b"1", None), via=self.main)
        if reply != b"OK":
            raise self.reply_error("advance", reply)
        return 1

    def begin_sizes(self, keys: Sequence[str]) -> asyncio.Future[list[int]] | None:
        """Begin to ask for the lengths of values; return None likewise."""
        connection = self._open_main()
        if connection is None or self._next is not None:
            return None
        return BatchReceiver(self, "sizes", commands.lengths(keys), _sizes).begin(connection, twice=True)

    def _open_main(self) -> Connection | None:
        connection = self.main.current
        return connection if connection is not None and connection.alive else None

    async def get_many(self, keys: Sequence[str]) -> Reply:
        """Return the values or the error reply, in the cases where `begin_get_many` returns None."""
        large = self.large.keys
        if large and not large.keys().isdisjoint(keys):
            return await self._get_mixed(keys, large)
        return await self._get(keys, None)

    def in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` in a task that is kept alive until it ends."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _get(self, keys: Sequence[str], via: ReconnectingConnection | None) -> Reply:
        return self.large.values_of(keys, await self.read("get_many", commands.get(keys), via=via))

    async def _get_mixed(self, keys: Sequence[str], large: dict[str, None]) -> Reply:
        heavy = [key for key in keys if key in large]
        light = [key for key in keys if key not in large]
        if not light:
            return await self._get(keys, self.bulk)
        parts = await asyncio.gather(self._get(light, None), self._get(heavy, self.bulk), return_exceptions=True)
        values: dict[str, bytes | None] = {}
        for part_keys, part in zip((light, heavy), parts, strict=True):
            if isinstance(part, BaseException):
                raise part
            if type(part) is not list:
                return part
            values.update(zip(part_keys, part, strict=True))
        return [values[key] for key in keys]

    async def set_many(self, items: Sequence[tuple[str, bytes]], px: int | None) -> Sequence[Reply]:
        """Return the replies to the SETs."""
        small: dict[str, bytes] = {}
        heavy: dict[str, bytes] = {}
        for key, value in items:
            (heavy if self.large.record(key, len(value)) else small)[key] = commands.set_(key, value, px)
        if small and sum(map(len, small.values())) >= self.large.least * _LARGE_BATCHES:
            heavy.update(small)
            small = {}
        sent = [
            self.write("set_many", list(part), list(part.values()), heavy=part is heavy)
            for part in (heavy, small)
            if part
        ]
        if len(sent) == 1:
            return await sent[0]
        parts = await asyncio.gather(*sent, return_exceptions=True)
        for part in parts:
            if isinstance(part, BaseException):
                raise part
        return [reply for part in parts if not isinstance(part, BaseException) for reply in part]

    async def write(
        self, operation: str, keys: Sequence[str], batch: list[bytes], *, heavy: bool = False
    ) -> list[Reply]:
        """Return the replies to writes of these keys, sent together; `heavy` if they are large.

        They reach the server after all writes of the same keys that were sent before, even those of cancelled callers.
        """
        if not heavy and not self._write_order.holds(keys):
            return await self.ask_many(operation, batch, via=self.main, write=True)
        via = self.bulk
        connection = via.current or await via.ready(operation)
        if heavy:
            await connection.drained()
        try:
            return await self._write_order.send(connection, keys, batch)
        except OSError as error:
            raise via.loss_error(operation, error) from error

    async def swap(
        self, key: str, old: bytes | None, new: bytes | None, px: int | None, *, asking: bool = False
    ) -> Reply:
        """Return True or False, or the error reply."""
        size = max(len(old or b""), len(new or b""))
        via = self.bulk if size >= self.large.least or self._write_order.holds([key]) else self.next_connection()
        if new is not None:
            self.large.record(key, len(new))
        connection = via.current or await via.ready("swap")
        try:
            return await self.swapper.swap(connection, self._watch_connection, key, old, new, px, asking=asking)
        except OSError as error:
            raise via.loss_error("swap", error) from error

    async def delete(self, keys: Sequence[str]) -> Reply:
        """Return how many of the keys existed, or the error reply: UNLINK, or DEL where that is switched off."""
        while True:
            connection = self.main.current or await self.main.ready("delete_many")
            plain = connection.notes.get(_PLAIN_DELETE, 0)
            (reply,) = await self.write("delete_many", keys, [(commands.delete if plain else commands.unlink)(keys)])
            if plain or not unknown(reply):
                return reply
            connection.notes[_PLAIN_DELETE] = 1

    async def extend(self, items: Mapping[str, bytes], px: int | None) -> list[Reply]:
        """Return for each key whether it has the value given and now lives for `px` at least, or the error reply."""
        while True:
            connection = self.main.current or await self.main.ready("extend")
            at = connection.notes.get(extend.NOTE, 0)
            method = extend.METHODS[at]
            if method == "swap":
                return [await self.swap(key, value, value, None) for key, value in items.items()]
            parts = [extend.commands_for(method, key, value, px) for key, value in items.items()]
            replies = await self.ask_many("extend", [one for part in parts for one in part], via=self.main, twice=True)
            if not extend.refused(replies):
                size = len(parts[0])
                answers = (replies[start : start + size] for start in range(0, len(replies), size))
                return [extend.verdict(value, part) for value, part in zip(items.values(), answers, strict=True)]
            connection.notes[extend.NOTE] = max(connection.notes.get(extend.NOTE, 0), at + 1)

    async def _watch_connection(self) -> Connection:
        return self._watch.current or await self._watch.ready("swap")


def _all_set(replies: list[Reply]) -> None:
    for reply in replies:
        if reply != b"OK":
            raise Refused(reply)


def _sizes(replies: list[Reply]) -> list[int]:
    for reply in replies:
        if type(reply) is not int:
            raise Refused(reply)
    return replies


def _number(replies: list[Reply]) -> int:
    return _sizes(replies)[0]


def moment(reply: Any) -> float:
    """Return the reply to TIME as Unix seconds."""
    whole, micro = reply
    return int(whole) + int(micro) / 1e6
