"""PostgresBackend: CacheBackend on one table. Each call is one statement, in a task that its caller may leave."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from psycopg import Error, rows

from cachecore import contract
from cachecore_postgres.connections import Connection, Pool, connect, translate
from cachecore_postgres.options import PostgresOptions, parse_url
from cachecore_postgres.statements import Statements

T = TypeVar("T")

_SWEEP_SECONDS: Final = 1.0
_PAUSE: Final = 0.5  # before the next attempt to connect
_ASK_AGAIN: Final = 30.0  # where there is nothing to listen to
_SILENT_SECONDS: Final = 2.0  # of a heartbeat, after which its connection is given up
_WRITES: Final = frozenset({"set_many", "delete_many", "swap", "advance"})  # these make the table; behind is swept
_FEED: Final = {True: "LISTEN/NOTIFY", False: "none (a pooler or a replica): copies in memory live for l1_max_age only"}


class PostgresBackend:
    """CacheBackend on a table of a Postgres database (13 or later).

    `url` is such as `postgres://user:password@host/database?table=answers`; a wrong one raises `OptionsError`.

    Any number of tasks, event loops, threads and processes may use one table at once. The constructor connects to
    nothing; each event loop has connections of its own, and a forked child starts without any.
    """

    def __init__(self, url: str, *, options: PostgresOptions | None = None) -> None:
        self._url, found = parse_url(url)
        self.options = options or found
        self._sql, self._patience, self._silence, self._sweep_due = Statements(self.options), 5.0, 5.0, 0.0
        self._pools, self._name, self._closed = contract.LoopLocal[Pool](), secrets.token_hex(8), False

    def get_many(self, keys: Sequence[str]) -> Awaitable[list[bytes | None]]:
        """Return the live values in the order of `keys`: one statement. Reads make no table: they find nothing."""
        return self._start("get_many", _in_order(keys, None), self._sql.get, list(keys))

    def sizes(self, keys: Sequence[str]) -> Awaitable[list[int]]:
        """Return the length of each key's live value in bytes, 0 where there is none."""
        return self._start("sizes", _in_order(keys, 0), self._sql.sizes, list(keys))

    def set_many(self, items: Mapping[str, bytes], *, ttl: float | None) -> Awaitable[None]:
        """Replace each key; it lives `ttl` seconds of the server's clock. One statement."""
        return self._start("set_many", lambda got: None, self._sql.put, *_rows(items, ttl), [], self._sender())

    def delete_many(self, keys: Sequence[str]) -> Awaitable[int]:
        """Delete the keys and return how many existed: one statement."""
        return self._start("delete_many", lambda got: len(_changed(got)), self._sql.delete, list(keys), self._sender())

    async def swap(self, key: str, old: bytes | None, new: bytes | None, *, ttl: float | None) -> bool:
        """Set the value to `new` if it is `old` now; return whether it was. Those that wait together go in one."""
        pool, sql = self._pool("swap"), self._sql.insert if old is None else self._sql.replace
        # A deleted value is a dead row, for the next sweep.
        row = key, new or b"", -1.0 if new is None else ttl and float(ttl), old or b""
        task = pool.swaps.join(sql, row, lambda rows: self._begin("swap", _changed, sql, *rows, self._sender()))
        return key in await asyncio.shield(pool.begun(task))

    async def extend(self, items: Mapping[str, bytes], *, ttl: float | None) -> list[bool]:
        """Let each key that has the value given live for `ttl` seconds at least; return which of them have it."""
        found = await self._start("extend", set, self._sql.extend, *_rows(items, ttl), list(items.values()))
        return [(key,) in found for key in items]

    async def advance(self, key: str) -> int:
        """Add one to the counter under `key` and return it, once the calls of this turn of the loop are answered."""
        await asyncio.shield(asyncio.gather(*self._pool("advance").turn))  # of other callers
        return await self._start("advance", lambda got: int(got[0][0]), self._sql.advance, key)

    async def scan(self, prefix: str) -> AsyncIterator[Sequence[str]]:
        """Yield the live keys that start with `prefix` in their order, in pages of at most 512."""
        # Keys are printable ASCII: between a key and the same with "\x01" behind it is no other.
        start = prefix
        while page := await self._start("scan", list, self._sql.page, start, prefix + "\x7f"):
            yield [key for (key,) in page]
            start = page[-1][0] + "\x01"

    async def time(self) -> float:
        """Return the server's clock, Unix seconds."""
        return float((await self._start("time", list, self._sql.time))[0][0])

    async def feed(self, prefix: str) -> AsyncIterator[contract.FeedEvent]:
        """Yield the changes that other processes make to keys that start with `prefix`, until closed.

        Through a pooler and on a replica it yields `Lost` and then nothing: there is nothing to listen to.

        Postgres hands out notifications in the order of commits. Those that were committed before a statement came are
        sent at the latest before the server is ready for the next one. So the answer to a statement proves that every
        change made before it was sent has been delivered. A heartbeat also asks whether the process that answers is the
        one that listens, and whether the table is still the one that is listened for.
        """
        life, heartbeat, lost, pause = self._pool("feed").life, self.options.heartbeat, False, _PAUSE
        while not life.done():
            with contextlib.suppress(Error, OSError), contextlib.ExitStack() as end:
                connection = await self._open()
                end.callback(connection.pgconn.finish)
                pause = _PAUSE if connection.listens else _ASK_AGAIN
                if connection.listens:
                    await connection.execute(f"LISTEN cachecore_{connection.table}".encode())
                    yield contract.Lost()  # values read until now were read without a feed
                    lost = False
                while connection.listens and not life.done():
                    sent = contract.monotonic()
                    async with asyncio.timeout(_SILENT_SECONDS):
                        if await connection.greet() != (True, connection.table):
                            break
                    for seconds in (0.0, heartbeat):
                        async for told in connection.notifies(timeout=seconds):
                            who, *keys = told.payload.split("\n")
                            if wanted := tuple(key for key in keys if key.startswith(prefix) and who != self._sender()):
                                yield contract.Changed(wanted)
                        if not seconds:
                            yield contract.Alive(sent)
            if not lost:
                yield contract.Lost()
            lost = True
            await asyncio.wait([life], timeout=pause)

    async def about(self, prefix: str) -> Mapping[str, Mapping[str, str]]:
        """Return the version and the abilities of the server, in words. Writes nothing. Raises `BackendError`."""
        try:
            async with await self._open() as connection:
                asked = connection.cursor(row_factory=rows.dict_row).execute(self._sql.about, connection.greeting)
                (facts,) = await (await asked).fetchall()
        except (Error, OSError) as error:
            raise translate("about", error) from error
        return {connection.link.address: {**facts, "feed": _FEED[connection.listens]}}

    def link(self, key: str) -> contract.Link | None:
        """Return the connection that calls of the running loop had to wait for last; None before it was opened."""
        return pool.link if (pool := self._pools.get(asyncio.get_running_loop())) else None

    def limit_waits(self, *, connect: float, silence: float) -> None:
        """Give up connecting after `connect` seconds, and a statement after `silence`; the server gives it up too."""
        self._patience, self._silence = connect, silence

    async def aclose(self) -> None:
        """Close all connections: those of other loops soon, in their loops. Idempotent."""
        self._closed = True
        for loop, pool in self._pools.items():
            with contextlib.suppress(RuntimeError):  # the loop is closed, and its connections with it
                loop.call_soon_threadsafe(pool.life.cancel)
            if loop is asyncio.get_running_loop():
                await asyncio.gather(*pool.tasks, return_exceptions=True)

    def _sender(self) -> str:
        return f"{self._name}{os.getpid()}"  # a forked child is another one

    def _open(self) -> Awaitable[Connection]:
        return connect(self._url, self._sql, self._patience, self._silence)

    def _pool(self, operation: str) -> Pool:
        """Return the connections of the running loop, or raise that they are closed."""
        if self._closed:
            raise contract.BackendUnavailable(operation, transient=False, reason="closed")
        loop = asyncio.get_running_loop()
        if (pool := self._pools.get(loop)) is None:
            self._pools.set(loop, pool := Pool(self.options.connections, self._open))
        return pool

    def _start(self, operation: str, then: Callable[[list[Any]], T], sql: bytes, *values: Any) -> asyncio.Future[T]:
        """Begin a statement; return its answer to be, which `then` makes of the rows. Its caller may leave."""
        return asyncio.shield(self._begin(operation, then, sql, *values))

    def _begin(self, operation: str, then: Callable[[list[Any]], T], sql: bytes, *values: Any) -> asyncio.Task[T]:
        pool = self._pool(operation)
        return pool.begun(pool.start(self._run(pool, operation, then, sql, *values)))

    async def _run(self, pool: Pool, operation: str, then: Callable[[list[Any]], T], sql: bytes, *values: Any) -> T:
        try:
            async with pool.connection() as connection, asyncio.timeout(self._silence):
                if connection.table is None:
                    await connection.look(self._sql.make if operation in _WRITES else None)
                if connection.table is None and operation != "time":
                    return then([])
                pool.swaps.close(sql)
                found = await (await connection.execute(sql, values, binary=True)).fetchall()
        except (Error, OSError) as error:
            raise translate(operation, error) from error
        except asyncio.CancelledError:
            self._pool(operation)  # raises if it was closed
            raise
        if operation in _WRITES and not self._closed and contract.monotonic() >= self._sweep_due:
            self._sweep_due = contract.monotonic() + _SWEEP_SECONDS
            pool.start(self._run(pool, "sweep", self._swept, self._sql.sweep))  # an error is met by the next call
        return then(found)

    def _swept(self, dead: list[Any]) -> None:
        """Let the next write delete more dead rows, if there were some; otherwise a write does so once a second."""
        self._sweep_due = 0.0 if dead else self._sweep_due


def _in_order(keys: Sequence[str], absent: T) -> Callable[[list[Any]], list[Any | T]]:
    return lambda got: list(map({**dict.fromkeys(keys, absent), **dict(got)}.get, keys))


def _changed(got: list[Any]) -> list[str]:
    return [key for keys, _ in got for key in keys]


def _rows(items: Mapping[str, bytes], ttl: float | None) -> tuple[list[str], list[bytes], list[float | None]]:
    return list(items), list(items.values()), [ttl and float(ttl)] * len(items)
