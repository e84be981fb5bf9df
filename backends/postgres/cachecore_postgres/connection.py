"""One connection: opened, greeted, and closed at once when a statement on it is given up."""

from __future__ import annotations

import asyncio
import select
from typing import Any, Final

from psycopg import AsyncConnection, Error, waiting
from psycopg.pq import ConnStatus, TransactionStatus

from cachecore_postgres.statements import GREET, Statements, channel

_POLL: Final = getattr(select, "poll", None)  # Windows has none


class Connection(AsyncConnection[Any]):
    """A connection that never outlives a statement that was cancelled: psycopg would wait for its end for 10 s."""

    _pool = None  # no warning where it ends with its event loop
    pooled = False
    """Whether a pooler is between: the server process that answers is not the one that the login named."""
    channel = ""
    """Where changes of the table are told."""
    born = 0.0
    """The second of the loop's clock at which it was opened."""

    async def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Drive `gen`; a cancelled one leaves the connection closed, since its end is not known."""
        try:
            return await waiting.wait_async(gen, self.pgconn.socket, interval=interval, timeout=timeout)
        except asyncio.CancelledError:
            self.pgconn.finish()
            raise

    @property
    def idle(self) -> bool:
        """Whether another statement may be sent."""
        return self.pgconn.status == ConnStatus.OK and self.pgconn.transaction_status == TransactionStatus.IDLE

    def sound(self) -> bool:
        """Return whether the connection is idle and was not closed by the server. One system call."""
        try:
            while self.idle and _readable(self.pgconn.socket):
                self.pgconn.consume_input()  # raises at the end of the stream
        except Error:
            return False
        return self.idle


def _readable(descriptor: int) -> bool:
    if _POLL is None:
        return bool(select.select([descriptor], [], [], 0)[0])
    poll = _POLL()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


async def connect(url: str, statements: Statements, *, patience: float, silence: float) -> Connection:
    """Return a new connection within `patience` seconds; the server gives up a statement after `silence` seconds.

    Raises:
        psycopg.Error: the server refused it, or was not reached.
        TimeoutError: it took too long.
    """
    async with asyncio.timeout(patience):
        made = await Connection.connect(url, autocommit=True)
        try:
            milliseconds = str(max(1, round(silence * 1000)))
            cursor = made.cursor()
            await cursor.execute(GREET, (statements.name, statements.schema, made.pgconn.backend_pid, milliseconds))
            ((process, found, _),) = await cursor.fetchall()
        except BaseException:
            made.pgconn.finish()
            raise
    made.pooled = process != made.pgconn.backend_pid
    made.born = asyncio.get_running_loop().time()
    made.channel = channel(found or "", statements.table)
    if made.pooled:
        made.prepare_threshold = None  # a statement prepared in one server process is not known in the next
    return made
