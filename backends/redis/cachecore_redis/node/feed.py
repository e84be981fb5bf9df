"""The feed: who changed what, pushed by the server on the very lane that carries the replies.

`CLIENT TRACKING ON BCAST PREFIX … NOLOOP` makes the server push every change of a key with the prefix: writes,
deletions, expiry, eviction and flushes, except those this lane made itself. Replies and pushes come in one order, so a
PONG says that every change made before the PING has been delivered.

A server or proxy without tracking gives no feed: the subscription says `Lost` and stays silent, and copies in memory
live by their age alone. So it is on RESP2, which has no pushes: servers agree to track there and drop what they would
have to say. Pub/sub would not do instead: it tells only of writers that publish, and loses silently.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Final, TypeVar

import hiredis

from cachecore.contract.errors import BackendError
from cachecore.contract.protocols import Alive, Changed, FeedEvent, Flushed, Lost
from cachecore_redis.wire.commands import PING, pack
from cachecore_redis.wire.connection import Lane, Reply
from cachecore_redis.wire.reconnecting import Channel

_MAX_KEYS: Final = 10_000
"""Changed keys kept for a subscriber that does not fetch them; beyond, it is told that all may have changed."""

_ASK_AGAIN: Final = 30.0
"""Seconds after which a server that has no tracking is asked again; a new connection is asked at once."""

_HELLO: Final[bytes] = pack(("HELLO",))
_OFF: Final[bytes] = pack(("CLIENT", "TRACKING", "OFF"))

T = TypeVar("T")


class _Subscription:
    """What one subscriber has not fetched yet."""

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
        self.stir()

    def take(self) -> FeedEvent:
        event = self.events.popleft()
        if type(event) is Changed:
            self.keys -= len(event.keys)
        return event

    def stir(self) -> None:
        if self.wake is not None and not self.wake.done():
            self.wake.set_result(None)


class Feeds:
    """The subscriptions of one loop to one server, and the one task that keeps them fed."""

    def __init__(self, channel: Channel, heartbeat: float) -> None:
        self.tracking: bool | None = None
        """Whether the server tracks: None until it was asked."""
        self._channel = channel
        channel.on_lost.append(self._lane_changed)
        channel.on_lane.append(self._lane_changed)
        self._heartbeat = heartbeat
        self._subscriptions: list[_Subscription] = []
        self._task: asyncio.Task[None] | None = None
        self._lane: Lane | None = None
        self._prefixes: tuple[str, ...] = ()
        self._proved = -math.inf  # loop seconds; when the last heartbeat was answered
        self._stirred: asyncio.Event | None = None
        self._closed = False

    async def feed(self, prefix: str) -> AsyncIterator[FeedEvent]:
        """Yield what happens to keys that start with `prefix`, until closed."""
        mine = _Subscription(prefix)
        self._subscriptions.append(mine)
        loop = asyncio.get_running_loop()
        if self._task is None and not self._closed:
            self._stirred = asyncio.Event()
            self._task = loop.create_task(self._run(), context=contextvars.Context())
        self._stir()
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
        lane, self._lane = self._lane, None
        if lane is not None and lane.alive:
            lane.on_push = None
            lane.send(_OFF)
        self._prefixes = ()

    def _stir(self) -> None:
        if self._stirred is not None:
            self._stirred.set()

    def _lane_changed(self, lane: Lane) -> None:
        if self._lane is not None and lane is not self._lane:
            lane = self._lane
        if lane is self._lane:
            self._lane = None
            lane.on_push = None
            self._lose()
        self._stir()

    def _all(self, event: FeedEvent) -> None:
        for subscription in self._subscriptions:
            if type(event) is Lost:
                subscription.lost = subscription.told = True
            elif type(event) is Alive:
                subscription.lost = subscription.told = False
            subscription.put(event)

    def _lose(self) -> None:
        """Say Lost to those who were not told yet."""
        for subscription in self._subscriptions:
            if not subscription.told:
                subscription.lost = subscription.told = True
                subscription.put(Lost())

    def _push(self, push: list[Any]) -> None:
        if push[0] != b"invalidate":
            return
        if push[1] is None:
            self._all(Flushed())
            return
        keys = [str(key, "latin-1") for key in push[1]]
        for subscription in self._subscriptions:
            prefix = subscription.prefix
            mine = tuple(key for key in keys if key.startswith(prefix))
            if mine:
                subscription.put(Changed(mine))

    # The task

    async def _run(self) -> None:
        stirred = self._stirred
        assert stirred is not None  # noqa: S101 - made by who made this task
        while True:
            stirred.clear()
            try:
                lane = self._channel.lane or await self._channel.ready("feed")
                await self._subscribe(lane)
                if self.tracking:
                    await self._beat(lane, stirred)
                    continue
            except (BackendError, OSError):
                pass  # said by Lost; the channel knows when to try again
            self._lose()
            pause = _ASK_AGAIN if self.tracking is False else max(self._channel.retry_in, self._heartbeat / 5)
            await _either(stirred, pause)

    async def _subscribe(self, lane: Lane) -> None:
        """Turn tracking on for what is subscribed, unless it is."""
        if lane is not self._lane and not await self._pushes(lane):
            self.tracking = False
            return
        wanted = _roots({subscription.prefix for subscription in self._subscriptions})
        if lane is self._lane and wanted == self._prefixes:
            return
        commands = [pack(("CLIENT", "TRACKING", "ON", "BCAST", *_each(wanted), "NOLOOP"))]
        if lane is self._lane:
            commands.insert(0, _OFF)  # overlapping prefixes are refused, so the old ones go first
        lane.on_push = self._push
        self._lane, self._prefixes = lane, wanted
        reply = (await self._reply(lane.request_many(commands)))[-1]
        self.tracking = not isinstance(reply, hiredis.ReplyError)
        if self.tracking:
            self._all(Lost())  # what was read since the last Lost came without pushes
        else:
            self._lane = None
            lane.on_push = None

    async def _pushes(self, lane: Lane) -> bool:
        """Return whether the server can push on `lane`.

        Asked, since redis-py takes whatever answers its HELLO for consent; but only where that was sent: some proxies
        close a connection on which they hear a command that they don't know.
        """
        return lane.protocol == 3 and protocol_in_force(await self._reply(lane.request(_HELLO))) == 3

    async def _beat(self, lane: Lane, stirred: asyncio.Event) -> None:
        """Send heartbeats until something changes."""
        loop = asyncio.get_running_loop()
        while lane is self._lane and not stirred.is_set():
            sent = time.monotonic()
            due = loop.time() + self._heartbeat
            pong = await self._reply(lane.request(PING))
            if isinstance(pong, hiredis.ReplyError):
                raise ConnectionResetError("the heartbeat was refused")
            if lane is not self._lane:
                return
            self._proved = loop.time()
            self._all(Alive(sent))
            await _either(stirred, due - loop.time())

    async def _reply(self, asked: asyncio.Future[T]) -> T:
        """Return the reply to what was sent just now; say Lost two intervals after the last heartbeat was answered.

        If this process stood still since then, it is one interval from now: that was not the server's fault.
        """
        loop = asyncio.get_running_loop()
        now = loop.time()
        late = max(self._proved + 2 * self._heartbeat, now + self._heartbeat)
        try:
            done, _ = await asyncio.wait({asked}, timeout=late - now)
            if not done:
                await asyncio.sleep(0)  # it may lie behind more than one read takes out of the socket
                if not asked.done():
                    self._lose()
            return await asked  # late or never: the lane has its own limit; pushes still come before it
        finally:
            asked.cancel()  # of a task that is cancelled: nobody looks at the reply


def protocol_in_force(hello: Reply) -> int:
    """Return which RESP the server speaks, by its reply to HELLO: maps are RESP3's."""
    return int(hello.get(b"proto", 2)) if isinstance(hello, dict) else 2


async def ended() -> AsyncIterator[FeedEvent]:
    """The feed of a closed backend."""
    return
    yield Lost()  # what makes it a generator


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
    """Return the prefixes that cover all: the server refuses overlapping ones."""
    return tuple(sorted(p for p in prefixes if not any(p != q and p.startswith(q) for q in prefixes)))


def _each(prefixes: tuple[str, ...]) -> list[str]:
    return [word for prefix in prefixes for word in ("PREFIX", prefix)]
