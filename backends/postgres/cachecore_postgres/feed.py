"""The feed: LISTEN on a connection of its own, and what `cachecore doctor` says of the server.

Postgres hands out notifications in the order of commits, and sends those of transactions that were committed before a
statement at the latest before it says that it is ready for the next one. So the answer to a statement proves that every
change made before it was sent has been delivered. A heartbeat asks at the same time whether it is still the process that
listens which answers: a pooler may hand each statement to another one, and then there is no feed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from psycopg import Error, sql

from cachecore.contract import Alive, BackendError, Changed, FeedEvent, Lost, monotonic
from cachecore_postgres.connection import Connection
from cachecore_postgres.errors import backend_error, translate
from cachecore_postgres.options import PostgresOptions
from cachecore_postgres.statements import ABOUT, Statements

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 0.8
_ASK_AGAIN: Final = 30.0
"""Seconds until a server that cannot be listened to is asked again."""
_LATE_BEATS: Final = 2
"""Heartbeats after which a feed without an answer is lost."""
_SILENT_BEATS: Final = 8
"""Heartbeats after which the connection is given up."""
_BEAT: Final = b"SELECT pg_backend_pid() = %s AND %s IN (SELECT pg_listening_channels())"

Opened = Callable[[], Awaitable[Connection]]


class Listener:
    """One feed. `events` is called again and again, by one task."""

    def __init__(
        self, opened: Opened, prefix: str, *, sender: str, heartbeat: float, over: asyncio.Event
    ) -> None:
        self._opened = opened
        self._over = over
        self._prefix = prefix
        self._sender = sender
        self._heartbeat = heartbeat
        self._connection: Connection | None = None
        self._beat: asyncio.Task[bool] | None = None
        self._sent = self._due = 0.0
        self._lost = False  # and said so
        self._pause = _FIRST_PAUSE

    def close(self) -> None:
        """Close the connection."""
        beat, self._beat = self._beat, None
        connection, self._connection = self._connection, None
        if beat is not None:
            beat.cancel()
        elif connection is not None:
            connection.pgconn.finish()

    async def events(self) -> list[FeedEvent]:
        """Return the next events, after a pause where there is no connection."""
        try:
            if self._connection is None:
                return await self._listen()
            return await self._next(self._connection)
        except (Error, OSError):
            self.close()
        except BackendError:  # a pooler, a replica
            self.close()
            self._pause = _ASK_AGAIN
        if not self._lost:
            self._lost = True
            return [Lost()]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._pause):
                await self._over.wait()
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        return []

    async def _listen(self) -> list[FeedEvent]:
        self._connection = connection = await self._opened()
        await listen(connection)
        self._due = self._sent = monotonic()
        self._lost, self._pause = True, _FIRST_PAUSE
        return [Lost()]  # what was read until now was read without a feed

    async def _next(self, connection: Connection) -> list[FeedEvent]:
        if self._beat is None and monotonic() < self._due:
            said = [one async for one in connection.notifies(timeout=self._due - monotonic(), stop_after=1)]
            return self._changes(said)
        if self._beat is None:
            self._sent = monotonic()
            self._due = self._sent + self._heartbeat
            self._beat = asyncio.ensure_future(_beat(connection))
        late = self._sent + (_SILENT_BEATS if self._lost else _LATE_BEATS) * self._heartbeat
        done, _ = await asyncio.wait({self._beat}, timeout=max(0.0, late - monotonic()))
        if not done:
            if self._lost:
                raise TimeoutError
            self._lost = True
            return [Lost()]
        sent, beat, self._beat = self._sent, self._beat, None
        if not beat.result():
            raise backend_error("feed", "pooler", False)
        said = [one async for one in connection.notifies(timeout=0)]
        self._lost = False
        return [*self._changes(said), Alive(sent)]

    def _changes(self, said: list[Any]) -> list[FeedEvent]:
        keys: list[str] = []
        for notification in said:
            sender, *changed = notification.payload.split("\n")
            if sender != self._sender:
                keys += [key for key in changed if key.startswith(self._prefix)]
        return [Changed(tuple(keys))] if keys else []


async def listen(connection: Connection) -> None:
    """Let `connection` hear of changes. Raises `BackendError` where it cannot."""
    if connection.pooled:
        raise backend_error("feed", "pooler", False)
    try:
        await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(connection.channel)))
    except Error as error:
        if error.sqlstate is None or error.sqlstate.startswith(("08", "57")):
            raise
        raise translate("feed", error) from error


async def _beat(connection: Connection) -> bool:
    cursor = await connection.execute(_BEAT, (connection.pgconn.backend_pid, connection.channel))
    ((same,),) = await cursor.fetchall()
    return bool(same)


async def about(opened: Opened, statements: Statements, options: PostgresOptions) -> Mapping[str, Mapping[str, str]]:
    """Return facts about the server as text for people. Raises `BackendError` where it cannot be reached."""
    try:
        connection = await opened()
    except (Error, OSError) as error:
        raise translate("about", error) from error
    try:
        ((version, replica, readonly, _, kind, tls),) = await (
            await connection.execute(ABOUT, (statements.name,))
        ).fetchall()
        feed = "LISTEN/NOTIFY"
        try:
            if not options.feed:
                raise backend_error("feed", "feed=false", False)
            await listen(connection)
        except BackendError as error:
            feed = f"none ({error.reason}): copies in memory live for l1_max_age only"
        where = f"{connection.info.host}:{connection.info.port}/{connection.info.dbname}"
        durability = {"u": "unlogged: empty after a crash or a failover", "p": "logged", None: "not made yet"}
        return {
            where: {
                "server": f"PostgreSQL {version}",
                "role": "replica: takes no writes" if replica else "read-only" if readonly == "on" else "primary",
                "pooler": "yes: no feed, no prepared statements" if connection.pooled else "no",
                "tls": tls or "no",
                "table": f"{statements.name} ({durability.get(kind, 'of another kind')})",
                "feed": feed,
            }
        }
    except (Error, OSError) as error:
        raise translate("about", error) from error
    finally:
        with contextlib.suppress(Error):
            connection.pgconn.finish()
