"""From a statement to its answer: a task per call, shielded from the caller, which may leave at any time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from psycopg import Error, errors

from cachecore.contract import BackendError, InlineFuture, Link, monotonic
from cachecore_postgres.connection import Connection, connect
from cachecore_postgres.errors import backend_error, translate
from cachecore_postgres.options import PostgresOptions
from cachecore_postgres.pool import Pool, Pools
from cachecore_postgres.statements import SWEEP, Statements

T = TypeVar("T")

CHANNEL: Final = object()
"""A parameter that stands for the channel of the connection's table."""
_SWEEP_SECONDS: Final = 1.0
_FEW_BYTES: Final = 4096
_BYTES_PER_SECOND: Final = 4 * 1024 * 1024
"""What a network must carry for a large statement not to count as silent."""
_READONLY_SECONDS: Final = 1.0


@dataclass(eq=False, slots=True)
class Call(Generic[T]):
    """One statement, and the future of its answer."""

    operation: str
    sql: bytes
    values: tuple[Any, ...]
    then: Callable[[list[Any]], T]
    """From the rows to the answer."""
    size: int = 0
    """Bytes of its values."""
    missing: list[Any] | None = None
    """Its rows where there is no table; None makes the table."""
    follower: Call[int] | None = None
    """A call in the same transaction, behind this one."""
    answer: InlineFuture[T] = field(init=False)

    def finish(self, rows: list[Any]) -> None:
        """Give the caller its answer, if it still waits."""
        if not self.answer.done():
            self.answer.set_result(self.then(rows))

    def fail(self, error: BaseException) -> None:
        """Give the caller, and that of the call behind, an error."""
        for call in filter(None, (self, self.follower)):
            if not call.answer.done():
                made = translate(call.operation, error) if isinstance(error, Error | OSError) else error
                call.answer.set_exception(made)


class Caller:
    """Makes calls in whichever loop they begin."""

    def __init__(self, url: str, statements: Statements, options: PostgresOptions) -> None:
        self._url = url
        self._statements = statements
        self.patience, self.silence = 5.0, 5.0
        self.pools = Pools(lambda: Pool(self.opened, options.connections))
        self._sweep_due = 0.0

    def opened(self) -> Any:
        """Return the opening of a connection."""
        return connect(self._url, self._statements, patience=self.patience, silence=self.silence)

    def check(self, operation: str) -> None:
        """Raise `BackendUnavailable` if closed."""
        self.pools.get(operation)

    def link(self) -> Link | None:
        """Return the link of the running loop."""
        pool = self.pools.current()
        return None if pool is None else pool.link

    def start(self, call: Call[T]) -> InlineFuture[T]:
        """Begin `call`; return its answer to be."""
        pool = self._begin(call)
        if call.missing is None and not pool.ended:
            if not pool.begun:
                asyncio.get_running_loop().call_soon(pool.begun.clear)
            pool.begun.append(call)
        return call.answer

    def follow(self, call: Call[int]) -> InlineFuture[int]:
        """Begin `call` behind the writes that began in this turn of the loop: it succeeds only if they do."""
        pool = self.pools.current()
        before = list(pool.begun) if pool is not None else []
        if len(before) == 1 and before[0].size <= _FEW_BYTES and before[0].follower is None:
            call.answer = InlineFuture(loop=asyncio.get_running_loop())
            before[0].follower = call
        else:
            self._begin(call, before)
        return call.answer

    def _begin(self, call: Call[Any], before: list[Call[Any]] | None = None) -> Pool:
        call.answer = InlineFuture(loop=asyncio.get_running_loop())
        pool = self.pools.get(call.operation)
        pool.start(self._run(pool, call, [earlier.answer for earlier in before or ()]))
        return pool

    async def _run(self, pool: Pool, call: Call[Any], before: list[InlineFuture[Any]]) -> None:
        try:
            if before:
                await asyncio.gather(*before)
            connection = await pool.take(call.operation)
            try:
                await self._carry_out(connection, call)
                if call.missing is None:
                    await self._sweep(connection)
            finally:
                pool.give(connection)
        except asyncio.CancelledError:
            call.fail(backend_error(call.operation, "closed" if pool.ended else "cancelled", not pool.ended))
            raise
        except Exception as error:  # noqa: BLE001 - the caller gets it, whichever it is
            call.fail(error)

    async def _carry_out(self, connection: Connection, call: Call[Any]) -> None:
        async with asyncio.timeout(self.silence + call.size / _BYTES_PER_SECOND):
            try:
                rows = await self._send(connection, call)
            except errors.UndefinedTable:
                if call.missing is not None:
                    rows = [call.missing]
                else:
                    await self._make(connection)
                    rows = await self._send(connection, call)
            except errors.ReadOnlySqlTransaction:
                # With several hosts in the URL, the next connection finds the one that takes writes.
                if asyncio.get_running_loop().time() - connection.born > _READONLY_SECONDS:
                    connection.pgconn.finish()
                raise
        call.finish(rows[0])
        if call.follower is not None:
            call.follower.finish(rows[1])

    async def _send(self, connection: Connection, call: Call[Any]) -> list[list[Any]]:
        if call.follower is None:
            return [await (await _execute(connection, call)).fetchall()]
        # Statements of one pipeline, up to its end, are one transaction.
        async with connection.pipeline():
            cursors = [await _execute(connection, part) for part in (call, call.follower)]
            return [await cursor.fetchall() for cursor in cursors]

    async def _make(self, connection: Connection) -> None:
        with contextlib.suppress(errors.DuplicateTable):  # another process was faster
            await connection.execute(self._statements.make)

    async def _sweep(self, connection: Connection) -> None:
        """Delete some of the dead rows, behind a write: at most once a second, unless there are more."""
        now = monotonic()
        if now < self._sweep_due or not connection.idle:
            return
        self._sweep_due = now + _SWEEP_SECONDS
        with contextlib.suppress(Error, TimeoutError):  # whatever it is, the calls meet it too
            async with asyncio.timeout(self.silence):
                if (await connection.execute(self._statements.sweep)).rowcount == SWEEP:
                    self._sweep_due = now


async def _execute(connection: Connection, call: Call[Any]) -> Any:
    values = tuple(connection.channel if value is CHANNEL else value for value in call.values)
    return await connection.cursor(binary=True).execute(call.sql, values or None)
