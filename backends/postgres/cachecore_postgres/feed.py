"""The feed: LISTEN on a connection of its own, and the facts that `cachecore doctor` shows.

Postgres hands out notifications in the order of commits. Those that were committed before a statement came are sent at
the latest before the server is ready for the next one. So the answer to a statement proves that every change made
before it was sent has been delivered. A heartbeat also asks whether the process that answers is the one that listens: a
pooler may hand each statement to another one, and then there is no feed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from typing import Any, Final

from psycopg import Error, errors

from cachecore.contract import Alive, BackendError, Changed, FeedEvent, Lost, in_background, monotonic
from cachecore_postgres.connections import Connection
from cachecore_postgres.errors import backend_error, translate
from cachecore_postgres.options import PostgresOptions
from cachecore_postgres.statements import ABOUT, BEAT

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 0.8
_ASK_AGAIN: Final = 30.0  # a server that cannot be listened to
_LATE_BEATS: Final = 2  # heartbeats after which a feed without an answer is lost
_SILENT_BEATS: Final = 8  # and after which its connection is given up, but not
_SILENT_SECONDS: Final = 1.0  # before these have passed
_DURABILITY: Final = {"u": "unlogged: empty after a crash or a failover", "p": "logged", None: "not made yet"}

Open = Callable[[], Awaitable[Connection]]


async def listen(
    opening: Open, prefix: str, sender: str, options: PostgresOptions, over: asyncio.Event
) -> AsyncGenerator[FeedEvent, None]:
    """Yield the changes of keys with `prefix` that other senders tell, until `over`; connects again by itself."""
    pause, told = _FIRST_PAUSE, False
    while not over.is_set():
        connection: Connection | None = None
        try:
            connection = await opening()
            await _subscribe(connection, options)
            yield Lost()  # what was read until now was read without a feed
            pause, told = _FIRST_PAUSE, True
            async with contextlib.aclosing(_events(connection, prefix, sender, options.heartbeat, over)) as events:
                async for event in events:
                    told = type(event) is Lost or (told and type(event) is not Alive)
                    yield event
        except BackendError:
            pause = _ASK_AGAIN
        except (Error, OSError):
            pass
        finally:
            if connection is not None:
                connection.pgconn.finish()
        if not told:
            told = True
            yield Lost()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await over.wait()
        pause = min(2 * pause, _LONGEST_PAUSE)


async def _subscribe(connection: Connection, options: PostgresOptions) -> None:
    """Listen. Raises `BackendError` where that is not possible."""
    if connection.pooled or not options.feed:
        raise backend_error("feed", "pooler" if connection.pooled else "feed=false")
    try:
        await connection.execute(f'LISTEN "{connection.channel}"'.encode())
    except (errors.ReadOnlySqlTransaction, errors.FeatureNotSupported) as error:
        raise translate("feed", error) from error


async def _events(
    connection: Connection, prefix: str, sender: str, heartbeat: float, over: asyncio.Event
) -> AsyncGenerator[FeedEvent, None]:
    """Yield changes and heartbeats until `over`, or an error of the connection."""
    while not over.is_set():
        sent = monotonic()
        beat = in_background(asyncio.create_task(_beat(connection)))
        try:
            for late in (_LATE_BEATS * heartbeat, max(_SILENT_BEATS * heartbeat, _SILENT_SECONDS)):
                if not (await asyncio.wait({beat}, timeout=late))[0]:
                    yield Lost()
            if not beat.done():
                raise TimeoutError
            beat.result()
        finally:
            beat.cancel()
        for change in _changes([said async for said in connection.notifies(timeout=0)], prefix, sender):
            yield change
        yield Alive(sent)
        while (left := sent + heartbeat - monotonic()) > 0:
            said = [said async for said in connection.notifies(timeout=left, stop_after=1)]
            for change in _changes(said, prefix, sender):
                yield change


async def _beat(connection: Connection) -> None:
    rows = await (await connection.execute(BEAT, (connection.pgconn.backend_pid, connection.channel))).fetchall()
    if rows != [(True,)]:
        raise backend_error("feed", "pooler")


def _changes(said: list[Any], prefix: str, sender: str) -> Iterator[Changed]:
    told = [notification.payload.split("\n") for notification in said]
    keys = tuple(key for who, *keys in told if who != sender for key in keys if key.startswith(prefix))
    if keys:
        yield Changed(keys)


async def about(opening: Open, table: str, options: PostgresOptions) -> Mapping[str, Mapping[str, str]]:
    """Return facts about the server as text for people. Raises `BackendError` where it cannot be reached."""
    try:
        async with await opening() as connection:
            ((version, role, kind, tls),) = await (await connection.execute(ABOUT, (table,))).fetchall()
            feed = "LISTEN/NOTIFY"
            try:
                await _subscribe(connection, options)
            except BackendError as error:
                feed = f"none ({error.reason}): copies in memory live for l1_max_age only"
            facts = {
                "server": f"PostgreSQL {version}",
                "role": role,
                "pooler": "yes: no feed, no prepared statements" if connection.pooled else "no",
                "tls": tls or "no",
                "table": f"{table} ({_DURABILITY.get(kind, 'of another kind')})",
                "feed": feed,
            }
            return {f"{connection.link.address}/{connection.info.dbname}": facts}
    except (Error, OSError) as error:
        raise translate("about", error) from error
