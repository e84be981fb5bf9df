"""PostgresBackend: CacheBackend on one table, each call one statement on a connection of its event loop."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from cachecore.contract import FeedEvent, InlineFuture, Link, Lost
from cachecore_postgres.calls import CHANNEL, Call, Caller
from cachecore_postgres.options import PostgresOptions, parse_url
from cachecore_postgres.statements import Statements

T = TypeVar("T")

_CHUNK_BYTES: Final = 16 * 1024 * 1024
_CHUNK_KEYS: Final = 1024
_PAYLOAD_BYTES: Final = 7900
"""Bytes of keys in one notification; Postgres takes less than 8,000."""
_LONGEST_TTL: Final = 1e12
"""Seconds, 30,000 years: later dates are none of Postgres'."""


class PostgresBackend:
    """CacheBackend on a table of a Postgres database (13 or later).

    Any number of tasks, event loops, threads and processes may use one table at once. The constructor connects to
    nothing; each event loop has connections of its own, and a forked child starts without any.
    """

    def __init__(self, url: str, *, options: PostgresOptions | None = None) -> None:
        self._url, found = parse_url(url)
        self.options = options or found
        self._statements = Statements(self.options)
        self._caller = Caller(self._url, self._statements, self.options)
        self._process, self._sender = 0, ""

    # Calls of one statement return its future instead of a coroutine: no task of the caller's has to wait for them.

    def get_many(self, keys: Sequence[str]) -> Awaitable[list[bytes | None]]:
        """Return the live values in the order of `keys`: one statement."""

        def ordered(rows: list[Any]) -> list[bytes | None]:
            values = dict(rows)
            return [values.get(key) for key in keys]

        return self._read("get_many", self._statements.get, (list(keys),), ordered)

    async def sizes(self, keys: Sequence[str]) -> list[int]:
        """Return the length of each key's live value in bytes, 0 where there is none."""

        def ordered(rows: list[Any]) -> list[int]:
            lengths = dict(rows)
            return [lengths.get(key, 0) for key in keys]

        return await self._read("sizes", self._statements.sizes, (list(keys),), ordered)

    def set_many(self, items: Mapping[str, bytes], *, ttl: float | None) -> Awaitable[None]:
        """Replace each key; it lives `ttl` seconds of the server's clock. One statement for 16 MiB or 1,024 keys."""
        chunks = list(_chunks(items))
        if len(chunks) == 1:
            return self._put(chunks[0], ttl)
        return self._put_each(chunks, ttl)

    async def _put_each(self, chunks: list[dict[str, bytes]], ttl: float | None) -> None:
        if not chunks:
            self._caller.check("set_many")
        for chunk in chunks:
            await self._put(chunk, ttl)

    def _put(self, items: dict[str, bytes], ttl: float | None) -> InlineFuture[None]:
        values = (_seconds(ttl), list(items), list(items.values()), *self._told(items))
        return self._write("set_many", self._statements.put, values, lambda rows: None, sum(map(len, items.values())))

    def delete_many(self, keys: Sequence[str]) -> Awaitable[int]:
        """Delete the keys and return how many existed: one statement."""
        unique = sorted(set(keys))
        return self._write("delete_many", self._statements.delete, (unique, *self._told(unique)), lambda rows: rows[0][0])

    def swap(self, key: str, old: bytes | None, new: bytes | None, *, ttl: float | None) -> Awaitable[bool]:
        """Set the value to `new` if it is `old` now; return whether it was. One statement."""
        sql, told, size = self._statements, self._told([key]), len(old or b"") + len(new or b"")
        if new is None and old is None:
            return self._read("swap", sql.absent, (key,), bool, missing=[(1,)])
        if new is None:
            return self._write("swap", sql.remove, (key, old, *told), bool, size)
        if old is None:
            return self._write("swap", sql.insert, (key, new, _seconds(ttl), *told), bool, size)
        return self._write("swap", sql.replace, (new, _seconds(ttl), key, old, *told), bool, size)

    async def extend(self, items: Mapping[str, bytes], *, ttl: float | None) -> list[bool]:
        """Let each key that has the value given live for `ttl` seconds at least; return which of them have it."""
        found: set[str] = set()
        for chunk in _chunks(items):
            values = (list(chunk), list(chunk.values()), _seconds(ttl))
            found |= await self._write("extend", self._statements.extend, values, lambda rows: {key for (key,) in rows})
        return [key in found for key in items]

    def advance(self, key: str) -> Awaitable[int]:
        """Add one to the counter under `key` and return it: in the transaction of a small write just before it."""
        call: Call[int] = Call("advance", self._statements.advance, (key,), lambda rows: int(rows[0][0]))
        return self._caller.follow(call)

    async def scan(self, prefix: str) -> AsyncIterator[Sequence[str]]:
        """Yield the live keys that start with `prefix` in their order, in pages of at most 512."""
        # Keys are printable ASCII, so that "\x7f" comes after all of them.
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1) if prefix else "\x7f"
        after = ""
        while True:
            values = (after, prefix, end)
            keys = await self._read("scan", self._statements.page, values, lambda rows: [key for (key,) in rows])
            if not keys:
                return
            after = keys[-1]
            yield keys

    async def feed(self, prefix: str) -> AsyncIterator[FeedEvent]:
        """Yield the changes that other processes make to keys that start with `prefix`, until closed.

        Through a pooler and on a replica it yields `Lost` and then nothing: there is nothing to listen to.
        """
        from cachecore_postgres.feed import Listener

        pool = self._caller.pools.get("feed")
        listener = Listener(
            self._caller.opened, prefix, sender=self._who(), heartbeat=self.options.heartbeat, over=pool.over
        )
        try:
            if not self.options.feed:
                yield Lost()
                await pool.over.wait()
            while not pool.ended:
                events = await listener.events()
                for event in events:
                    yield event
        finally:
            listener.close()

    async def time(self) -> float:
        """Return the server's clock, Unix seconds."""
        return await self._read("time", b"SELECT extract(epoch FROM clock_timestamp())::float8", (), lambda rows: rows[0][0])

    async def about(self, prefix: str) -> Mapping[str, Mapping[str, str]]:
        """Return what the server is and can do here, for people. Writes nothing."""
        from cachecore_postgres.feed import about

        return await about(self._caller.opened, self._statements, self.options)

    def link(self, key: str) -> Link | None:
        """Return the connection of the running loop; None while its first one is being opened."""
        return self._caller.link()

    def limit_waits(self, *, connect: float, silence: float) -> None:
        """Give up connecting after `connect` seconds, and a statement after `silence`; the server gives it up too."""
        self._caller.patience, self._caller.silence = connect, silence

    async def aclose(self) -> None:
        """Close all connections. Idempotent."""
        await self._caller.pools.aclose()

    def _read(
        self, operation: str, sql: bytes, values: tuple[Any, ...], then: Callable[[list[Any]], T], missing: Any = ()
    ) -> InlineFuture[T]:
        """Begin a statement that changes nothing; `missing`: its rows where there is no table yet."""
        return self._caller.start(Call(operation, sql, values, then, missing=list(missing)))

    def _write(
        self, operation: str, sql: bytes, values: tuple[Any, ...], then: Callable[[list[Any]], T], size: int = 0
    ) -> InlineFuture[T]:
        return self._caller.start(Call(operation, sql, values, then, size=size))

    def _told(self, keys: Sequence[str] | Mapping[str, Any]) -> tuple[Any, list[str]]:
        """Return the channel and the payloads that tell of `keys`; the first line of each says which process tells."""
        if not self.options.feed:
            return "", []
        payloads, lines, size = [], [self._who()], 0
        for key in keys:
            if size + len(key) > _PAYLOAD_BYTES:
                payloads.append("\n".join(lines))
                lines, size = lines[:1], 0
            lines.append(key)
            size += len(key) + 1
        if len(lines) > 1:
            payloads.append("\n".join(lines))
        return CHANNEL, payloads

    def _who(self) -> str:
        """Return the name by which this process knows its own notifications; a forked child has another."""
        if self._process != os.getpid():
            self._process, self._sender = os.getpid(), secrets.token_hex(8)
        return self._sender


def _seconds(ttl: float | None) -> float | None:
    return None if ttl is None else min(ttl, _LONGEST_TTL)


def _chunks(items: Mapping[str, bytes]) -> Iterator[dict[str, bytes]]:
    """Split `items` into those of single statements, in the order of their keys: so rows are locked in one order."""
    chunk: dict[str, bytes] = {}
    size = 0
    for key in sorted(items):
        if chunk and (size + len(items[key]) > _CHUNK_BYTES or len(chunk) == _CHUNK_KEYS):
            yield chunk
            chunk, size = {}, 0
        chunk[key] = items[key]
        size += len(items[key])
    if chunk:
        yield chunk


def from_url(url: str) -> PostgresBackend:
    """Return the backend for a URL such as `postgres://user:password@host/database?table=answers`.

    Raises:
        OptionsError: the URL or a setting in it is wrong.
    """
    return PostgresBackend(url)
