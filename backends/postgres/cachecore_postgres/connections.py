"""The connections of one event loop: opened by calls, closed at once when a statement on one is given up.

psycopg's own pool is not used: after an outage it waits for seconds before it tries again, and it outlives neither a
fork nor the end of its loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import select
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Final

from psycopg import AsyncConnection, Error, waiting
from psycopg.pq import TransactionStatus

from cachecore.contract import Link
from cachecore_postgres.statements import GREET, Statements, channel

_NO_LINK: Final = Link("", -math.inf)


class Connection(AsyncConnection[Any]):
    """A connection that ends with a statement that is cancelled: psycopg would wait for its end for 10 s."""

    _pool = None  # no warning where it ends with its event loop
    pooled = False
    """Whether a pooler is between: the server process that answers is not the one that the login named."""
    channel = ""
    """Where changes of the table are told."""
    link: Link
    """Its address, and the second of the loop's clock at which it was opened."""

    async def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Drive `gen`; a cancelled one leaves the connection closed, since its end is not known."""
        try:
            return await waiting.wait_async(gen, self.pgconn.socket, interval=interval, timeout=timeout)
        except asyncio.CancelledError:
            self.pgconn.finish()
            raise

    @property
    def idle(self) -> bool:
        """Whether another statement may be sent; a closed connection is of unknown status."""
        return self.pgconn.transaction_status == TransactionStatus.IDLE

    def sound(self) -> bool:
        """Return whether it is idle and was not closed by the server since. One system call."""
        try:
            while self.idle and _readable(self.pgconn.socket):
                self.pgconn.consume_input()  # raises at the end of the stream
        except Error:
            self.pgconn.finish()
        return self.idle


def _readable(descriptor: int) -> bool:
    if not hasattr(select, "poll"):  # Windows
        return bool(select.select([descriptor], [], [], 0)[0])
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


async def connect(url: str, statements: Statements, patience: float, silence: float) -> Connection:
    """Return a new connection within `patience` seconds; the server gives up a statement after `silence` seconds.

    Raises:
        psycopg.Error: the server refused it, or was not reached.
        TimeoutError: it took too long.
    """
    async with asyncio.timeout(patience):
        made = await Connection.connect(url, autocommit=True)
        try:
            limit = str(max(1, round(silence * 1000)))
            values = (statements.name, statements.schema, made.pgconn.backend_pid, limit)
            ((process, schema, _),) = await (await made.execute(GREET, values)).fetchall()
        except BaseException:  # cancelled, too: the socket must not stay open
            made.pgconn.finish()
            raise
    made.pooled = process != made.pgconn.backend_pid
    made.channel = channel(schema, statements.table)
    where = f"{made.info.hostaddr or made.info.host}:{made.info.port}"
    made.link = Link(where, asyncio.get_running_loop().time())
    if made.pooled:
        made.prepare_threshold = None  # a statement prepared in one server process is not known in the next
    return made


class Pool:
    """At most `size` connections, and the tasks that use them."""

    def __init__(self, size: int) -> None:
        self.link: Link | None = None
        """As `SupportsLinks.link` returns it."""
        self.turn: list[list[Any]] = []
        """The writes that began in this turn of the loop."""
        self.tasks: set[asyncio.Task[None]] = set()
        self.over = asyncio.Event()
        self.end: AsyncGenerator[None, None] = self._until_the_loop_ends()
        with contextlib.suppress(StopIteration):
            self.end.asend(None).send(None)
        self._slots = asyncio.Semaphore(size)
        self._idle: list[Connection] = []
        self._count = 0  # of open connections

    @contextlib.asynccontextmanager
    async def connection(self, opening: Any) -> AsyncIterator[Connection]:
        """Lend an idle connection, or a new one that `opening` makes."""
        async with self._slots:
            connection = self._sound() or await self._opened(opening)
            try:
                yield connection
            finally:
                if connection.idle and not self.over.is_set():
                    self._idle.append(connection)
                else:
                    connection.pgconn.finish()
                    self._count -= 1

    def _sound(self) -> Connection | None:
        while self._idle:
            if (connection := self._idle.pop()).sound():
                return connection
            self._count -= 1
        return None

    async def _opened(self, opening: Any) -> Connection:
        if self._count == 0 and self.link is not _NO_LINK:
            self.link = None  # calls wait: the last attempt ended well
        try:
            connection: Connection = await opening()
        except BaseException:  # cancelled, too: waiting calls must see that no connection is coming
            self.link = _NO_LINK if self._count == 0 else self.link
            raise
        self._count += 1
        self.link = connection.link
        return connection

    async def _until_the_loop_ends(self) -> AsyncGenerator[None, None]:
        # A loop that ends closes the generators that began in it: the only public signal of its end.
        try:
            yield
        finally:
            self.close()

    def close(self) -> None:
        """End every task and close every connection. Idempotent."""
        self.over.set()
        for task in list(self.tasks):
            task.cancel()
        while self._idle:
            self._idle.pop().pgconn.finish()
