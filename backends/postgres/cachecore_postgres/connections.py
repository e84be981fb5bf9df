"""The connections of one event loop, and the meaning of their errors.

psycopg's own pool is not used: after an outage it waits for seconds before it tries again, a call that finds no server
waits for its whole deadline instead of hearing why, and it outlives neither a fork nor the end of its loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final

from psycopg import AsyncConnection, Error, errors, pq, waiting

from cachecore.contract import BackendError, BackendTimeout, BackendUnavailable, Link, in_background
from cachecore.contract.groups import Groups
from cachecore_postgres.statements import GREET, Statements

# Reason, whether a retry may help, the error, SQLSTATEs or their classes (two characters), words of an error without
# one, such as a failed login. The first that fits counts. An error is not transient where no retry cures it: the
# breaker must not open because one value does not fit.
_KINDS: Final = (
    ("max_clients", True, BackendUnavailable, "53300", ("too many", "connection slots", "no more connections")),
    ("auth", True, BackendUnavailable, "28", ("authentication failed", "pg_hba.conf", "no password", "role ")),
    ("tls", True, BackendUnavailable, "", (" certificate ", " alert ", "support ssl")),
    ("no_database", True, BackendUnavailable, "3D", ("not exist", "no such database")),
    ("dns", True, BackendUnavailable, "", ("resolve", "translate host")),
    ("auth", False, BackendUnavailable, "42501", ()),
    ("readonly", True, BackendError, "25006 0A000", ("session is read-only",)),  # 0A000: a replica, an unlogged table
    ("timeout", True, BackendTimeout, "55P03 57014", ()),
    ("full", False, BackendError, "53 54", ()),  # disk, memory, the size of a value, the queue of notifications
    ("schema", False, BackendError, "3F", ()),
    ("refused", True, BackendUnavailable, "", ("connection to server", "timeout")),
    ("reset", True, BackendUnavailable, "08 57 42P01", ("",)),  # 42P01: the table was dropped
)


def translate(operation: str, error: BaseException) -> BackendError:
    """Return the contract's error for an exception of the driver or of a socket.

    Messages of the driver are not copied: they may hold addresses, user names or keys.
    """
    state = "57014" if isinstance(error, TimeoutError) else getattr(error, "sqlstate", None)
    for reason, transient, kind, states, words in _KINDS:
        if {state, state[:2]} & set(states.split()) if state else any(word in str(error).lower() for word in words):
            return kind(operation, transient, reason)
    return BackendError(operation, transient=False)


class Connection(AsyncConnection[Any]):
    """A connection that ends with a statement that is cancelled: psycopg would wait for its end for 10 s."""

    _pool = None  # no warning where it ends with its event loop
    listens = False
    """Whether there is a feed: the server process that the login named answers, not a pooler's, and is no replica's."""
    table: str | None = None
    """The number of the table in the database, such as "16385"; None: there is none."""
    greeting: Mapping[str, Any]
    """The parameters of `GREET`."""
    link: Link
    """Its address, and the second of the loop's clock at which it was opened."""

    async def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Drive `gen`; a cancelled one leaves the connection closed, since its end is not known."""
        try:
            return await waiting.wait_async(gen, self.pgconn.socket, interval=interval, timeout=timeout)
        except asyncio.CancelledError:
            self.pgconn.finish()
            raise

    def sound(self) -> bool:
        """Return whether another statement may be sent: it is idle, and was not closed by the server since."""
        with contextlib.suppress(Error):
            for _ in range(2):  # the last words of the server, and the end; no call waits
                self.pgconn.consume_input()
        return self.pgconn.transaction_status == pq.TransactionStatus.IDLE

    async def greet(self) -> tuple[bool, str | None]:
        """Return `listens` and `table` as they are now."""
        ((listens, table, _),) = await (await self.execute(GREET, self.greeting)).fetchall()
        return listens, table

    async def look(self, make: bytes | None) -> None:
        """Look for the table again, since another process may have made it; `make` makes it if it is not there."""
        self.listens, self.table = await self.greet()
        if self.table is None and make is not None:
            with contextlib.suppress(errors.DuplicateTable, errors.DuplicateObject, errors.UniqueViolation):
                await self.execute(make)  # or another process was faster
            self.listens, self.table = await self.greet()


async def connect(url: str, statements: Statements, patience: float, silence: float) -> Connection:
    """Return a new connection within `patience` seconds; the server gives up a statement after `silence` seconds.

    Args:
        url: as libpq takes it.
        statements: those of the table.
        patience: seconds.
        silence: seconds.

    Raises:
        psycopg.Error: the server refused it, or was not reached.
        TimeoutError: it took too long.
    """
    async with asyncio.timeout(patience):
        # psycopg would return keys as bytes from a database with the encoding SQL_ASCII.
        made = await Connection.connect(url, autocommit=True, client_encoding="utf8")
        made.greeting = {"process": made.pgconn.backend_pid, "table": statements.name, "ms": round(silence * 1000)}
        try:
            await made.look(None)
        except BaseException:  # cancelled, too: the socket must not stay open
            made.pgconn.finish()
            raise
    # A statement prepared in one process of a pooler is not known in the next.
    made.prepare_threshold = made.prepare_threshold if made.listens else None
    made.link = Link(f"{made.info.hostaddr or made.info.host}:{made.info.port}", asyncio.get_running_loop().time())
    return made


class Pool:
    """At most `size` connections of the running loop, and the tasks that use them."""

    def __init__(self, size: int, opening: Callable[[], Awaitable[Connection]]) -> None:
        self.link: Link | None = None
        """As `SupportsLinks.link` returns it: the last one that was opened while no other was in use."""
        self.turn: list[asyncio.Task[Any]] = []
        """The calls that began in this turn of the loop."""
        self.swaps = Groups[list[str]]()
        """Those that wait for a connection."""
        self.tasks: set[asyncio.Task[Any]] = set()
        self.life = self.start(self._live())
        """Ends with the loop; cancelled, it ends the others, and closes the connections."""
        self._opening, self._slots, self._lent, self._idle = opening, asyncio.Semaphore(size), 0, list[Connection]()

    def start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Begin `work` in a task of its own, which has nothing of its caller."""
        task = in_background(asyncio.get_running_loop().create_task(work, context=contextvars.Context()))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # retrieved; its caller may leave
        return task

    def begun(self, task: asyncio.Task[Any]) -> asyncio.Task[Any]:
        """Note that a call of this turn of the loop waits for `task`."""
        self.turn.append(task)
        task.get_loop().call_soon(self.turn.clear)
        return task

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend an idle connection, or a new one."""
        async with self._slots:
            connection = self._idle.pop() if self._idle else None
            if connection is None or not connection.sound():
                beside = self.link if self._lent else None
                try:
                    connection = await self._opening()
                except BaseException:  # cancelled, too: waiting calls must see that no connection is coming
                    self.link = Link("", float("-inf"))
                    raise
                self.link = beside if beside and beside.address == connection.link.address else connection.link
            self._lent += 1
            try:
                yield connection
            except (errors.UndefinedTable, errors.ReadOnlySqlTransaction):
                # The next one looks for the table; with several hosts in the URL, it finds the one that takes writes.
                connection.pgconn.finish()
                raise
            finally:
                self._lent -= 1
                if connection.sound():
                    self._idle.append(connection)
                else:
                    connection.pgconn.finish()

    async def _live(self) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            for task in self.tasks:
                task.cancel()
            for connection in self._idle:
                connection.pgconn.finish()
