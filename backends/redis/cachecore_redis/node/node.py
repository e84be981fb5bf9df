"""One server as one event loop sees it: the lanes to it, and the commands that go over them.

Small commands share a lane (or a few); large values have one of their own, so that nothing waits behind them; so does
WATCH, which is state of its connection. The last two are opened when first needed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, Final

import hiredis

from cachecore.contract.errors import BackendError
from cachecore.contract.futures import InlineFuture
from cachecore_redis.node.feed import Feeds
from cachecore_redis.node.large import LargeKeys
from cachecore_redis.node.swap import Swapper
from cachecore_redis.node.write_order import OnTheWay
from cachecore_redis.wire import commands
from cachecore_redis.wire.address import RedisOptions
from cachecore_redis.wire.connection import Lane, Reply
from cachecore_redis.wire.errors import refusal, translate
from cachecore_redis.wire.reconnecting import Backoff, Channel, Dialer

Values = list[bytes | None]

_WRONG_SERVER = frozenset({"readonly", "auth", "moved"})
_LARGE_BATCHES: Final = 64
"""Small values that are as much together as so many large ones take the lane of those."""


class Node:
    """The lanes of one loop to one server. Everything here happens in that loop."""

    def __init__(self, dialer: Dialer, backoff: Backoff, options: RedisOptions, large: LargeKeys) -> None:
        self.lanes = [Channel(dialer, backoff) for _ in range(options.lanes)]
        self.main = self.lanes[0]
        self.feeds = Feeds(self.main, options.heartbeat)
        self.swapper = Swapper()
        self.bulk = Channel(dialer, backoff)
        self._watch = Channel(dialer, backoff)
        self._on_bulk = OnTheWay()
        self.large = large
        self._next = 0 if options.lanes > 1 else None
        self._tasks: set[asyncio.Task[None]] = set()

    def channel(self) -> Channel:
        """Return the way that the next small command takes."""
        if self._next is None:
            return self.main
        self._next = (self._next + 1) % len(self.lanes)
        return self.lanes[self._next]

    def _channels(self) -> tuple[Channel, ...]:
        return (*self.lanes, self.bulk, self._watch)

    def restart(self) -> None:
        """Leave the server at once: another one has taken its place."""
        for channel in self._channels():
            channel.restart()

    def close(self) -> None:
        """Close all lanes."""
        self.feeds.close()
        for channel in self._channels():
            channel.close()

    # Requests

    async def ask(self, operation: str, command: bytes, *, channel: Channel | None = None) -> Reply:
        """Return the reply to one command, error replies too. Raises `BackendError` if there is none."""
        way = channel or self.channel()
        lane = way.lane or await way.ready(operation)
        try:
            return await lane.request(command)
        except OSError as error:
            raise way.failure(operation, error) from error

    async def read(self, operation: str, command: bytes, *, channel: Channel | None = None) -> Reply:
        """Return the reply to a command that may be asked twice.

        A server closes connections that were idle too long, and the news may cross with a command on its way. So what
        was under way on a connection that was closed is asked again on the next one, once.
        """
        way = channel or self.channel()
        lane = way.lane or await way.ready(operation)
        try:
            return await lane.request(command)
        except ConnectionResetError:
            return await self.ask(operation, command, channel=way)
        except OSError as error:
            raise way.failure(operation, error) from error

    async def ask_many(
        self, operation: str, batch: list[bytes], *, channel: Channel | None = None, twice: bool = False
    ) -> list[Reply]:
        """Return the replies to commands that are sent together; `twice` if they may be asked twice, as `read` does."""
        way = channel or self.channel()
        lane = way.lane or await way.ready(operation)
        try:
            return await lane.request_many(batch)
        except ConnectionResetError as error:
            if twice:
                return await self.ask_many(operation, batch, channel=way)
            raise way.failure(operation, error) from error
        except OSError as error:
            raise way.failure(operation, error) from error

    def refused(self, operation: str, reply: Reply) -> BackendError:
        """Return the error for an error reply; leave a server that says it is the wrong one.

        Any other reply here is the answer to something else: replies were lost or doubled on the way, and which belongs
        to whom is not known any more, so the connections are given up.
        """
        error = refusal(operation, reply)
        if not isinstance(reply, hiredis.ReplyError):
            for channel in self._channels():
                if channel.lane is not None:
                    channel.lane.close()
        if error.reason in _WRONG_SERVER and error.transient:
            for channel in self._channels():
                channel.replace()
        return error

    # Commands

    def begin_get_many(self, keys: Sequence[str]) -> asyncio.Future[list[bytes | None]] | None:
        """Begin the read of `keys` on the open lane; None if that takes more than sending a command."""
        large, lane = self.large.keys, self.main.lane
        if lane is None or not lane.alive or self._next is not None or (large and not large.keys().isdisjoint(keys)):
            return None
        return Reading(self, keys).begin(lane)

    async def get_many(self, keys: Sequence[str]) -> Reply:
        """Return the values, or the error reply, where `begin_get_many` does not do."""
        large = self.large.keys
        if large and not large.keys().isdisjoint(keys):
            return await self._get_mixed(keys, large)
        return await self._get(keys, None)

    def behind(self, work: Coroutine[Any, Any, None]) -> None:
        """Do `work` in a task that is kept alive until it ends."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _get(self, keys: Sequence[str], channel: Channel | None) -> Reply:
        return self.large.noted(keys, await self.read("get_many", commands.get(keys), channel=channel))

    async def _get_mixed(self, keys: Sequence[str], large: dict[str, None]) -> Reply:
        heavy = [key for key in keys if key in large]
        light = [key for key in keys if key not in large]
        if not light:
            return await self._get(keys, self.bulk)
        parts = await asyncio.gather(self._get(light, None), self._get(heavy, self.bulk), return_exceptions=True)
        found: dict[str, bytes | None] = {}
        for asked, part in zip((light, heavy), parts, strict=True):
            if isinstance(part, BaseException):
                raise part
            if type(part) is not list:
                return part
            found.update(zip(asked, part, strict=True))
        return [found[key] for key in keys]

    async def set_many(self, items: Sequence[tuple[str, bytes]], px: int | None) -> Sequence[Reply]:
        """Return the replies to the SETs."""
        small: dict[str, bytes] = {}
        heavy: dict[str, bytes] = {}
        for key, value in items:
            (heavy if self.large.seen(key, len(value)) else small)[key] = commands.set_(key, value, px)
        if small and sum(map(len, small.values())) >= self.large.least * _LARGE_BATCHES:
            heavy.update(small)
            small = {}
        sent = [
            self.write("set_many", list(part), list(part.values()), heavy=part is heavy)
            for part in (heavy, small)
            if part
        ]
        if len(sent) == 1:
            return await sent[0]
        parts = await asyncio.gather(*sent, return_exceptions=True)
        for part in parts:
            if isinstance(part, BaseException):
                raise part
        return [reply for part in parts if not isinstance(part, BaseException) for reply in part]

    async def write(
        self, operation: str, keys: Sequence[str], batch: list[bytes], *, heavy: bool = False
    ) -> list[Reply]:
        """Return the replies to writes of these keys, sent together; `heavy` if they are large.

        They reach the server after all writes of the same keys that were sent before, given up or not.
        """
        if not heavy and not self._on_bulk.holds(keys):
            return await self.ask_many(operation, batch, channel=self.main)
        way = self.bulk
        lane = way.lane or await way.ready(operation)
        if heavy:
            await lane.drained()
        try:
            return await self._on_bulk.send(lane, keys, batch)
        except OSError as error:
            raise way.failure(operation, error) from error

    async def swap(
        self, key: str, old: bytes | None, new: bytes | None, px: int | None, *, asking: bool = False
    ) -> Reply:
        """Return True or False, or the error reply."""
        size = max(len(old or b""), len(new or b""))
        way = self.bulk if size >= self.large.least or self._on_bulk.holds([key]) else self.channel()
        if new is not None:
            self.large.seen(key, len(new))
        lane = way.lane or await way.ready("swap")
        try:
            return await self.swapper.swap(lane, self._watch_lane, key, old, new, px, asking=asking)
        except OSError as error:
            raise way.failure("swap", error) from error

    async def _watch_lane(self) -> Lane:
        return self._watch.lane or await self._watch.ready("swap")


class Reading:
    """One GET or MGET under way. The lane treats it as the future of the reply; `future` is that of the values.

    A read needs no task: its place in the lane's queue makes the caller's answer of the reply the moment it comes. A
    task and a turn of the loop would be a third of what a read costs.
    """

    __slots__ = ("_keys", "_node", "future")

    def __init__(self, node: Node, keys: Sequence[str]) -> None:
        self.future: InlineFuture[Values] = InlineFuture(loop=asyncio.get_running_loop())
        self._node = node
        self._keys = keys

    def begin(self, lane: Lane) -> asyncio.Future[Values]:
        """Send the command over `lane` and return the future of its values."""
        lane.request_for(commands.get(self._keys), self)
        return self.future

    def done(self) -> bool:
        """Return whether nobody waits any more."""
        return self.future.done()

    def set_result(self, reply: Reply) -> None:
        """Take the reply."""
        values = self._node.large.noted(self._keys, reply)
        if type(values) is list:
            self.future.set_result(values)
        else:
            self.future.set_exception(self._node.refused("get_many", values))

    def set_exception(self, error: BaseException) -> None:
        """Take the loss of the lane. What the server closed is asked again on a new one, once, as every read is."""
        if isinstance(error, ConnectionResetError):
            self._node.behind(self._again())
        elif isinstance(error, OSError):
            failure = translate("get_many", error)
            failure.__cause__ = error
            self.future.set_exception(failure)
        else:
            self.future.set_exception(error)

    async def _again(self) -> None:
        try:
            reply = await self._node.read("get_many", commands.get(self._keys))
        except BackendError as error:
            if not self.done():
                self.future.set_exception(error)
        except asyncio.CancelledError:
            self.future.cancel()
            raise
        else:
            if not self.done():
                self.set_result(reply)


def moment(reply: Any) -> float:
    """Return the reply to TIME as Unix seconds."""
    whole, micro = reply
    return int(whole) + int(micro) / 1e6
