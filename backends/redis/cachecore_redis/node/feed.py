"""The feed: changes by other clients, pushed by the server on the connection that carries the replies.

`CLIENT TRACKING ON BCAST PREFIX … NOLOOP` makes the server push every change of a key with the prefix: writes,
deletions, expiry, eviction and flushes, except those made over this connection. Replies and pushes come in one order,
so a PONG proves that every change made before the PING has been delivered.

A server or proxy without tracking gives no feed: the subscription yields `Lost` and then nothing, and copies in memory
live by their age alone. The same holds on RESP2, which has no pushes: servers accept the tracking command there and
drop the messages. Pub/sub is no replacement: it reports only writers that publish, and loses messages silently.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Final, TypeVar

import hiredis

from cachecore.contract import Alive, BackendError, Changed, FeedEvent, Flushed, Lost, in_background, monotonic
from cachecore_redis.wire.commands import PING, pack
from cachecore_redis.wire.connection import Connection, Reply
from cachecore_redis.wire.reconnecting import ReconnectingConnection

_MAX_KEYS: Final = 10_000
"""Changed keys kept for a subscriber that does not fetch them; beyond, one event voids all copies."""

_ASK_AGAIN: Final = 30.0
"""Seconds until a server without tracking is asked again; on a new connection it is asked at once."""

_HELLO: Final[bytes] = pack(("HELLO",))
_OFF: Final[bytes] = pack(("CLIENT", "TRACKING", "OFF"))

T = TypeVar("T")


class _Subscription:
    """The events that one subscriber has not fetched yet."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.events: deque[FeedEvent] = deque()
        self.keys = 0  # in `events`
        self.wake: asyncio.Future[None] | None = None
        self.lost = True  # until the first Alive
        self.told = False  # of the loss

    def put(self, event: FeedEvent) -> None:
        events = self.events
        if type(event) is Changed:
            self.keys += len(event.keys)
            if self.keys > _MAX_KEYS:
                events.clear()
                self.keys = 0
                event = Lost() if self.lost else Flushed()
        elif events and type(events[-1]) is type(event):
            events.pop()  # one heartbeat, the latest, is enough; so is one Lost
        events.append(event)
        self.wake_up()

    def take(self) -> FeedEvent:
        event = self.events.popleft()
        if type(event) is Changed:
            self.keys -= len(event.keys)
        return event

    def wake_up(self) -> None:
        if self.wake is not None and not self.wake.done():
            self.wake.set_result(None)


class Feeds:
    """The subscriptions of one loop to one server, and the one task that feeds them."""

    def __init__(self, main: ReconnectingConnection, heartbeat: float) -> None:
        self.tracking: bool | None = None
        """Whether the server supports tracking; None until it was asked."""
        self._main = main
        main.on_lost.append(self._connection_changed)
        main.on_opened.append(self._connection_changed)
        self._heartbeat = heartbeat
        self._subscriptions: list[_Subscription] = []
        self._task: asyncio.Task[None] | None = None
        self._connection: Connection | None = None
        self._prefixes: tuple[str, ...] = ()
        self._proved = -math.inf  # loop seconds; when the last heartbeat was answered
        self._changed: asyncio.Event | None = None
        self._closed = False

    async def feed(self, prefix: str) -> AsyncIterator[FeedEvent]:
        """Yield the changes of keys that start with `prefix`, until closed."""
        mine = _Subscription(prefix)
        self._subscriptions.append(mine)
        loop = asyncio.get_running_loop()
        if self._task is None and not self._closed:
            self._changed = asyncio.Event()
            self._task = in_background(loop.create_task(self._run(), context=contextvars.Context()))
        self._wake_task()
        try:
            while not self._closed:
                while mine.events:
                    yield mine.take()
                if self._closed:
                    return
                mine.wake = loop.create_future()
                await mine.wake
        finally:
            self._subscriptions.remove(mine)
            if not self._subscriptions:
                self._stop()

    def close(self) -> None:
        """End all subscriptions."""
        self._closed = True
        self._stop()
        for subscription in self._subscriptions:
            subscription.put(Lost())

    def _stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
        connection, self._connection = self._connection, None
        if connection is not None and connection.alive:
            connection.on_push = None
            connection.send(_OFF)
        self._prefixes = ()

    def _wake_task(self) -> None:
        if self._changed is not None:
            self._changed.set()

    def _connection_changed(self, connection: Connection) -> None:
        if self._connection is not None and connection is not self._connection:
            connection = self._connection
        if connection is self._connection:
            self._connection = None
            connection.on_push = None
            self._give_lost()
        self._wake_task()

    def _give_all(self, event: FeedEvent) -> None:
        for subscription in self._subscriptions:
            if type(event) is Lost:
                subscription.lost = subscription.told = True
            elif type(event) is Alive:
                subscription.lost = subscription.told = False
            subscription.put(event)

    def _give_lost(self) -> None:
        """Give Lost to the subscriptions that have not got it yet."""
        for subscription in self._subscriptions:
            if not subscription.told:
                subscription.lost = subscription.told = True
                subscription.put(Lost())

    def _push(self, push: list[Any]) -> None:
        if push[0] != b"invalidate":
            return
        if push[1] is None:
            self._give_all(Flushed())
            return
        keys = [str(key, "latin-1") for key in push[1]]
        for subscription in self._subscriptions:
            prefix = subscription.prefix
            mine = tuple(key for key in keys if key.startswith(prefix))
            if mine:
                subscription.put(Changed(mine))

    # The task

    async def _run(self) -> None:
        changed = self._changed
        assert changed is not None  # noqa: S101 - set before this task is made
        while True:
            changed.clear()
            try:
                connection = self._main.current or await self._main.ready("feed")
                await self._subscribe(connection)
                if self.tracking:
                    await self._beat(connection, changed)
                    continue
            except (BackendError, OSError):
                pass  # subscriptions get Lost; `retry_in` says when to try again
            self._give_lost()
            pause = _ASK_AGAIN if self.tracking is False else max(self._main.retry_in, self._heartbeat / 5)
            await _either(changed, pause)

    async def _subscribe(self, connection: Connection) -> None:
        """Turn tracking on for the subscribed prefixes, unless it is on."""
        if connection is not self._connection and not await self._pushes(connection):
            self.tracking = False
            return
        wanted = _roots({subscription.prefix for subscription in self._subscriptions})
        if connection is self._connection and wanted == self._prefixes:
            return
        commands = [pack(("CLIENT", "TRACKING", "ON", "BCAST", *_each(wanted), "NOLOOP"))]
        if connection is self._connection:
            commands.insert(0, _OFF)  # overlapping prefixes are refused, so the old ones go first
        connection.on_push = self._push
        self._connection, self._prefixes = connection, wanted
        reply = (await self._reply(connection.request_many(commands)))[-1]
        self.tracking = not isinstance(reply, hiredis.ReplyError)
        if self.tracking:
            self._give_all(Lost())  # reads since the last Lost had no pushes
        else:
            self._connection = None
            connection.on_push = None

    async def _pushes(self, connection: Connection) -> bool:
        """Return whether the server can push on `connection`.

        HELLO is sent again, because redis-py takes any reply to its own for consent; but not where RESP2 was requested:
        some proxies close a connection that sends an unknown command.
        """
        return connection.protocol == 3 and protocol_in_force(await self._reply(connection.request(_HELLO))) == 3

    async def _beat(self, connection: Connection, changed: asyncio.Event) -> None:
        """Send heartbeats until the connection or the subscriptions change."""
        loop = asyncio.get_running_loop()
        while connection is self._connection and not changed.is_set():
            sent = monotonic()
            due = loop.time() + self._heartbeat
            pong = await self._reply(connection.request(PING))
            if isinstance(pong, hiredis.ReplyError):
                raise ConnectionResetError("the heartbeat was refused")
            if connection is not self._connection:
                return
            self._proved = loop.time()
            self._give_all(Alive(sent))
            await _either(changed, due - loop.time())

    async def _reply(self, reply: asyncio.Future[T]) -> T:
        """Return `reply` to a command sent just now; give Lost two intervals after the last answered heartbeat.

        If this process stood still since then, one interval from now: that was not the server's fault.
        """
        loop = asyncio.get_running_loop()
        now = loop.time()
        late = max(self._proved + 2 * self._heartbeat, now + self._heartbeat)
        try:
            done, _ = await asyncio.wait({reply}, timeout=late - now)
            if not done:
                await asyncio.sleep(0)  # it may be behind more bytes than one read takes from the socket
                if not reply.done():
                    self._give_lost()
            return await reply  # the connection limits the wait; pushes still come before the reply
        finally:
            reply.cancel()  # if this task was cancelled, the reply has no receiver


def protocol_in_force(hello: Reply) -> int:
    """Return the version of RESP in use, by the reply to HELLO: only RESP3 has maps."""
    return int(hello.get(b"proto", 2)) if isinstance(hello, dict) else 2


async def ended() -> AsyncIterator[FeedEvent]:
    """The feed of a closed backend: no events."""
    return
    yield Lost()  # makes this a generator


async def _either(event: asyncio.Event, seconds: float) -> None:
    """Return when `event` is set, or after `seconds`."""
    if seconds <= 0:
        return
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass


def _roots(prefixes: set[str]) -> tuple[str, ...]:
    """Return the fewest prefixes that cover all: the server refuses overlapping ones."""
    return tuple(sorted(p for p in prefixes if not any(p != q and p.startswith(q) for q in prefixes)))


def _each(prefixes: tuple[str, ...]) -> list[str]:
    return [word for prefix in prefixes for word in ("PREFIX", prefix)]
