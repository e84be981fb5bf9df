"""PostgresBackend: CacheBackend on one table. Each call is one statement, in a task that its caller may leave."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from psycopg import Error, errors

from cachecore.contract import FeedEvent, InlineFuture, Link, LoopLocal, in_background, monotonic
from cachecore_postgres.connections import Connection, Pool, connect
from cachecore_postgres.errors import backend_error, translate
from cachecore_postgres.feed import about, listen
from cachecore_postgres.options import PostgresOptions, parse_url
from cachecore_postgres.statements import CHANNEL, SWEEP, Statements, chunks, payloads

T = TypeVar("T")

_SWEEP_SECONDS: Final = 1.0
_FEW_BYTES: Final = 4096
_BYTES_PER_SECOND: Final = 4 * 1024 * 1024  # a statement that carries more is not silent
_READONLY_SECONDS: Final = 1.0
_LONGEST_TTL: Final = 1e12  # 30,000 years: Postgres has no later dates


@dataclass(eq=False, slots=True)
class _Call(Generic[T]):
    operation: str
    sql: bytes
    values: tuple[Any, ...]
    then: Callable[[list[Any]], T]  # from the rows to the answer
    missing: list[Any] | None = None  # the rows where there is no table; None: a write, which makes it
    size: int = 0  # bytes of its values
    answer: InlineFuture[T] = field(default_factory=lambda: InlineFuture(loop=asyncio.get_running_loop()))


class PostgresBackend:
    """CacheBackend on a table of a Postgres database (13 or later).

    Any number of tasks, event loops, threads and processes may use one table at once. The constructor connects to
    nothing; each event loop has connections of its own, and a forked child starts without any.
    """

    def __init__(self, url: str, *, options: PostgresOptions | None = None) -> None:
        self._url, found = parse_url(url)
        self.options = options or found
        self._sql = Statements(self.options)
        self._patience = self._silence = 5.0
        self._pools: LoopLocal[Pool] = LoopLocal()
        self._process, self._sender = 0, ""
        self._closed = False
        self._sweep_due = 0.0

    def get_many(self, keys: Sequence[str]) -> Awaitable[list[bytes | None]]:
        """Return the live values in the order of `keys`: one statement."""
        return self._start(_Call("get_many", self._sql.get, (list(keys),), _in_order(keys, None), []))

    def sizes(self, keys: Sequence[str]) -> Awaitable[list[int]]:
        """Return the length of each key's live value in bytes, 0 where there is none."""
        return self._start(_Call("sizes", self._sql.sizes, (list(keys),), _in_order(keys, 0), []))

    async def set_many(self, items: Mapping[str, bytes], *, ttl: float | None) -> None:
        """Replace each key; it lives `ttl` seconds of the server's clock. One statement for 16 MiB or 1,024 keys."""
        self._pool("set_many")
        for chunk in chunks(items):
            values = (_bounded(ttl), list(chunk), list(chunk.values()), *self._told(chunk))
            await self._start(_Call("set_many", self._sql.put, values, bool, size=sum(map(len, chunk.values()))))

    def delete_many(self, keys: Sequence[str]) -> Awaitable[int]:
        """Delete the keys and return how many existed: one statement."""
        values = (list(keys), *self._told(keys))
        return self._start(_Call("delete_many", self._sql.delete, values, lambda rows: int(rows[0][0])))

    def swap(self, key: str, old: bytes | None, new: bytes | None, *, ttl: float | None) -> Awaitable[bool]:
        """Set the value to `new` if it is `old` now; return whether it was. One statement."""
        if old is new is None:
            return self._start(_Call("swap", self._sql.absent, (key,), bool, [(1,)]))
        sql = self._sql.remove if new is None else self._sql.insert if old is None else self._sql.replace
        written = () if new is None else (new, _bounded(ttl))
        values = (*written, key, *(() if old is None else (old,)), *self._told([key]))
        return self._start(_Call("swap", sql, values, bool, size=len(old or b"") + len(new or b"")))

    async def extend(self, items: Mapping[str, bytes], *, ttl: float | None) -> list[bool]:
        """Let each key that has the value given live for `ttl` seconds at least; return which of them have it."""
        found: set[tuple[str]] = set()
        for chunk in chunks(items):
            values = (list(chunk), list(chunk.values()), _bounded(ttl))
            found |= await self._start(_Call("extend", self._sql.extend, values, set))
        return [(key,) in found for key in items]

    def advance(self, key: str) -> Awaitable[int]:
        """Add one to the counter under `key` and return it: in the transaction of a small write just before it."""
        call = _Call("advance", self._sql.advance, (key,), lambda rows: int(rows[0][0]))
        before = list(self._pool("advance").turn)
        if len(before) == 1 and len(before[0]) == 1 and before[0][0].size <= _FEW_BYTES:
            before[0].append(call)
            return call.answer
        return self._start(call, [write.answer for writes in before for write in writes])

    async def scan(self, prefix: str) -> AsyncIterator[Sequence[str]]:
        """Yield the live keys that start with `prefix` in their order, in pages of at most 512."""
        # Keys are printable ASCII, so that "\x7f" comes after all of them.
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1) if prefix else "\x7f"
        after = ""
        while rows := await self._start(_Call("scan", self._sql.page, (after, prefix, end), list, [])):
            yield [key for (key,) in rows]
            ((after,),) = rows[-1:]

    def feed(self, prefix: str) -> AsyncIterator[FeedEvent]:
        """Yield the changes that other processes make to keys that start with `prefix`, until closed.

        Through a pooler and on a replica it yields `Lost` and then nothing: there is nothing to listen to.
        """
        pool = self._pool("feed")
        return listen(self._open, prefix, self._sender, self.options, pool.over)

    def time(self) -> Awaitable[float]:
        """Return the server's clock, Unix seconds."""
        return self._start(_Call("time", self._sql.time, (), lambda rows: float(rows[0][0]), []))

    async def about(self, prefix: str) -> Mapping[str, Mapping[str, str]]:
        """Return what the server is and can do here, for people. Writes nothing."""
        return await about(self._open, self._sql.name, self.options)

    def link(self, key: str) -> Link | None:
        """Return the newest connection of the running loop; None while the first one is being opened."""
        pool = self._pools.get(asyncio.get_running_loop())
        return None if pool is None else pool.link

    def limit_waits(self, *, connect: float, silence: float) -> None:
        """Give up connecting after `connect` seconds, and a statement after `silence`; the server gives it up too."""
        self._patience, self._silence = connect, silence

    async def aclose(self) -> None:
        """Close all connections: those of other loops soon, in their loops. Idempotent."""
        self._closed = True
        for loop, pool in self._pools.items():
            if loop is asyncio.get_running_loop():
                await pool.end.aclose()
                await asyncio.wait(pool.tasks) if pool.tasks else None
            else:
                with contextlib.suppress(RuntimeError):  # it is closed, and its connections with it
                    loop.call_soon_threadsafe(pool.close)

    def _open(self) -> Awaitable[Connection]:
        return connect(self._url, self._sql, self._patience, self._silence)

    def _pool(self, operation: str) -> Pool:
        """Return the connections of the running loop, or raise that they are closed."""
        loop = asyncio.get_running_loop()
        if self._process != os.getpid():  # a forked child; psycopg closes no connection that another process made
            self._pools.forget()
            self._process, self._sender = os.getpid(), secrets.token_hex(8)
        pool = self._pools.get(loop)
        if self._closed or (pool is not None and pool.over.is_set()):
            raise backend_error(operation, "closed", transient=False)
        if pool is None:
            pool = Pool(self.options.connections)
            self._pools.set(loop, pool)
        return pool

    def _told(self, keys: Sequence[str] | Mapping[str, Any]) -> tuple[Any, list[str]]:
        self._pool("write")
        return CHANNEL, payloads(self._sender, keys) if self.options.feed else []

    def _start(self, call: _Call[T], before: Sequence[asyncio.Future[Any]] = ()) -> InlineFuture[T]:
        """Begin `call` once the answers of `before` are there; return its answer to be."""
        pool, loop, calls = self._pool(call.operation), asyncio.get_running_loop(), [call]
        if call.missing is None:
            pool.turn.append(calls)
            loop.call_soon(pool.turn.clear)
        task = in_background(loop.create_task(self._run(pool, calls, before), context=contextvars.Context()))
        pool.tasks.add(task)
        task.add_done_callback(pool.tasks.discard)
        return call.answer

    async def _run(self, pool: Pool, calls: list[_Call[Any]], before: Sequence[asyncio.Future[Any]]) -> None:
        try:
            await asyncio.gather(*before)
            async with pool.connection(self._open) as connection:
                rows = await self._send(connection, calls)
                for call, found in zip(calls, rows, strict=True):
                    if not call.answer.done():
                        call.answer.set_result(call.then(found))
                if calls[0].missing is None and monotonic() >= self._sweep_due:
                    await self._sweep(connection)
        except asyncio.CancelledError:
            if pool.over.is_set():
                _fail(calls, None)
                return
            for call in calls:  # the loop ends, and no caller is left
                call.answer.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - a bug is the caller's to see
            _fail(calls, error)

    async def _send(self, connection: Connection, calls: list[_Call[Any]], made: bool = False) -> list[list[Any]]:
        """Return the rows of each call; statements of one pipeline are one transaction."""
        values = [tuple(connection.channel if value is CHANNEL else value for value in call.values) for call in calls]
        async with asyncio.timeout(self._silence + calls[0].size / _BYTES_PER_SECOND):
            try:
                async with connection.pipeline() if len(calls) > 1 else contextlib.nullcontext():
                    cursors = [connection.cursor(binary=True) for _ in calls]
                    for cursor, call, given in zip(cursors, calls, values, strict=True):
                        await cursor.execute(call.sql, given)
                    return [await cursor.fetchall() for cursor in cursors]
            except errors.UndefinedTable:
                if calls[0].missing is not None:
                    return [calls[0].missing]
                if made:
                    raise
                with contextlib.suppress(errors.DuplicateTable):  # another process was faster
                    await connection.execute(self._sql.make)
            except errors.ReadOnlySqlTransaction:
                # With several hosts in the URL, the next connection finds the one that takes writes.
                if asyncio.get_running_loop().time() - connection.link.since > _READONLY_SECONDS:
                    connection.pgconn.finish()
                raise
        return await self._send(connection, calls, made=True)

    async def _sweep(self, connection: Connection) -> None:
        """Delete some of the dead rows, behind a write: at most once a second, unless there are more."""
        now = monotonic()
        self._sweep_due = now + _SWEEP_SECONDS
        with contextlib.suppress(Error, TimeoutError):  # calls meet the same fault and report it
            async with asyncio.timeout(self._silence):
                if (await connection.execute(self._sql.sweep)).rowcount == SWEEP:
                    self._sweep_due = now


def _fail(calls: list[_Call[Any]], error: Exception | None) -> None:
    """Give the callers that wait an error; None: the backend was closed."""
    for call in calls:
        made = error or backend_error(call.operation, "closed", transient=False)
        if isinstance(made, Error | OSError):
            made = translate(call.operation, made)
        if not call.answer.done():
            call.answer.set_exception(made)


def _bounded(ttl: float | None) -> float | None:
    return None if ttl is None else min(ttl, _LONGEST_TTL)


def _in_order(keys: Sequence[str], absent: T) -> Callable[[list[Any]], list[Any | T]]:
    return lambda rows: list(map({**dict.fromkeys(keys, absent), **dict(rows)}.get, keys))


def from_url(url: str) -> PostgresBackend:
    """Return the backend for a URL such as `postgres://user:password@host/database?table=answers`.

    Raises:
        OptionsError: the URL or a setting in it is wrong.
    """
    return PostgresBackend(url)
