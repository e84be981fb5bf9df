"""The network before a simulated store, and the driver of each process: messages take time, and may get lost.

Messages never overtake each other on one connection; between connections they do. A connection that is given up is not
taken back: commands sent on it may still be carried out. `SimulatedBackend` keeps the contract of a backend.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final

from cachecore.contract.clock import Clock
from cachecore.contract.errors import BackendError, BackendUnavailable
from cachecore.contract.protocols import Alive, FeedEvent, Lost
from cachecore.testing.simulation.store import SimulatedStore

_TICK: Final = 1e-6
_HEARTBEAT: Final = 0.25
_PATIENCE: Final = 0.04  # seconds without an answer after which a connection is thought to be dead
_PING_PATIENCE: Final = 0.75
_PAGE: Final = 4


class Link:
    """The network between one process and the store, and its present faults."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.slow = 1.0
        """By how much everything takes longer."""
        self.cut = False
        self.loss = 0.0
        """With which probability a message breaks its connection, or makes it fall silent."""
        self.feed_deaf = False
        """Whether nothing more comes in on the feed, and nothing says so."""
        self.held: list[tuple[Connection, Callable[[], None]]] = []
        """Messages that wait for a cut network."""

    def heal(self) -> None:
        """Be well again: held messages go on their way, except some of callers that have given up.

        A feed that was deaf stays so: its missed events never arrive, so it must not seem to be well.
        """
        self.slow, self.cut, self.loss = 1.0, False, 0.0
        held, self.held = self.held, []
        late = self.chance.random() < 0.5
        for connection, go_on in held:
            if not connection.over and (late or not connection.given_up):
                go_on()

    def latency(self) -> float:
        """Return the seconds that the next message takes."""
        draw = self.chance.random
        return self.slow * (0.0002 + 0.001 * draw() ** 3) + (0.025 * draw() if draw() < 0.06 else 0.0)


class Connection:
    """One connection of a process: an ordered stream each way."""

    def __init__(self, store: SimulatedStore, link: Link, process: str, *, prefix: str | None = None) -> None:
        self.store = store
        self.link = link
        self.process = process
        self.prefix = prefix
        """The prefix that the feed on this connection watches; None: it is no feed."""
        self.noloop = False
        self._epoch = store.epoch
        self._broken = False
        self.given_up = False
        """Whether the client has let go of it: then it hears nothing more."""
        self.events: deque[FeedEvent] = deque()
        self.woken: asyncio.Future[None] | None = None
        self._silent = False
        self._sent_until = self._answered_until = 0.0
        self._waiting: dict[asyncio.Future[Any], str] = {}
        store.accept(self)

    def send(self, command: tuple[Any, ...]) -> asyncio.Future[Any]:
        """Send a command; return the future of its answer."""
        loop, link = self.store.loop, self.link
        reply: asyncio.Future[Any] = loop.create_future()
        self._waiting[reply] = command[0]
        if self._lost():
            return reply
        self._sent_until = max(self._sent_until + _TICK, loop.time() + link.latency())
        loop.call_at(self._sent_until, self._over, lambda: self.store.arrive(self, command, reply))
        return reply

    def answer(self, reply: asyncio.Future[Any], answer: Any) -> None:
        """Send the answer to a command back."""
        if not self._lost():
            self._down(lambda: self._settle(reply, answer))

    def push(self, event: FeedEvent) -> None:
        """Send an event of the feed."""
        self._down(lambda: self.deliver(event))

    def deliver(self, event: FeedEvent) -> None:
        """Hand an event of the feed to its reader."""
        if self.given_up or self.link.feed_deaf:
            return
        self.events.append(event)
        self.wake()

    def wake(self) -> None:
        """Let the reader of the feed look."""
        if self.woken is not None and not self.woken.done():
            self.woken.set_result(None)

    @property
    def over(self) -> bool:
        """Whether nothing on it can arrive any more."""
        return self._broken or self._epoch != self.store.epoch

    def give_up(self) -> None:
        """Abort it, from the client's side."""
        if not self.given_up:
            self.given_up = True
            self._fail("reset")
            self.store.forget(self)

    def broken(self) -> None:
        """End it, from the network's or the server's side."""
        self._broken = self.given_up = True
        self.store.forget(self)
        self._fail("reset")
        self.wake()

    def _fail(self, reason: str) -> None:
        waiting, self._waiting = self._waiting, {}
        for future, operation in waiting.items():
            if not future.done():
                future.set_exception(BackendUnavailable(operation, reason=reason))
                future.exception()

    def _lost(self) -> bool:
        link = self.link
        if self._silent:
            return True
        if link.loss and self.prefix is None and link.chance.random() < link.loss:
            if link.chance.random() < 0.5:
                self._silent = True  # it and all that follow it are lost without an error
            else:
                self.store.loop.call_later(0.001, self.broken)
            return True
        return False

    def _down(self, arrive: Callable[[], None]) -> None:
        loop = self.store.loop
        self._answered_until = max(self._answered_until + _TICK, loop.time() + self.link.latency())
        loop.call_at(self._answered_until, self._over, arrive)

    def _over(self, arrive: Callable[[], None]) -> None:
        """Let a message arrive, or wait for the network."""
        if self.over:
            return
        if self.link.cut:
            self.link.held.append((self, arrive))
        else:
            arrive()

    def _settle(self, reply: asyncio.Future[Any], answer: Any) -> None:
        self._waiting.pop(reply, None)
        if reply.done():
            return
        if isinstance(answer, BackendError):
            reply.set_exception(answer)
            reply.exception()
        else:
            reply.set_result(answer)


class SimulatedBackend:
    """CacheBackend of one process on a `SimulatedStore`. Without a feed and a clock; see `connected`."""

    def __init__(self, store: SimulatedStore, link: Link, process: str, clock: Clock, *, connections: int = 2) -> None:
        self.store = store
        self.link = link
        self.process = process
        self.clock = clock
        self.noloop = False
        self.patient = False
        """Whether its feed goes on believing in a connection on which nothing comes in."""
        self.failed_at = -math.inf
        """Second at which a call last failed or was given up."""
        self.reset_at = -math.inf
        """Second at which a call last learned that the store was not there, or no longer the same."""
        self._closed = False
        self._pool: list[Connection | None] = [None] * connections
        self._last = 0  # the connection that was used last: a command right behind a write goes over it

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the live values in the order of `keys`."""
        values: list[bytes | None] = await self._call("get_many", list(keys))
        return values

    async def set_many(self, items: Mapping[str, bytes], *, ttl: float | None) -> None:
        """Replace each key."""
        await self._call("set_many", dict(items), ttl)

    async def delete_many(self, keys: Sequence[str]) -> int:
        """Delete the keys and return how many of them existed."""
        count: int = await self._call("delete_many", list(keys))
        return count

    async def swap(self, key: str, old: bytes | None, new: bytes | None, *, ttl: float | None) -> bool:
        """Make the value `new` if it is `old` now; return whether it was."""
        swapped: bool = await self._call("swap", key, old, new, ttl)
        return swapped

    async def advance(self, key: str) -> int:
        """Add one to the counter under `key` and return it."""
        number: int = await self._call("advance", key, behind=True)
        return number

    async def scan(self, prefix: str) -> AsyncIterator[Sequence[str]]:
        """Yield the live keys that start with `prefix`, in pages."""
        found: list[str] = await self._call("scan", prefix)
        for start in range(0, len(found), _PAGE):
            if start:
                await self._call("scan", prefix)  # a page is a round trip
            yield found[start : start + _PAGE]

    async def aclose(self) -> None:
        """Let go of all connections."""
        self._closed = True
        for connection in self._pool:
            if connection is not None:
                connection.give_up()

    def connections(self) -> list[Connection]:
        """Return the connections in use."""
        return [connection for connection in self._pool if connection is not None and not connection.given_up]

    async def _call(self, operation: str, *arguments: Any, behind: bool = False) -> Any:
        if self._closed:
            raise BackendUnavailable(operation, transient=False, reason="closed")
        if not self.store.up:
            self.failed_at = self.store.loop.time()
            await asyncio.sleep(self.link.latency())
            raise BackendUnavailable(operation, reason="refused")
        place = self._last if behind else self.link.chance.randrange(len(self._pool))
        self._last = place
        connection = self._pool[place]
        if connection is None or connection.given_up:
            connection = self._pool[place] = Connection(self.store, self.link, self.process)
        sent_at = self.store.loop.time()
        try:
            return await connection.send((operation, *arguments))
        except BackendError as error:
            self.failed_at = self.store.loop.time()
            if error.reason in ("reset", "refused", "readonly"):
                self.reset_at = self.failed_at
            raise
        except asyncio.CancelledError:
            self.failed_at = now = self.store.loop.time()
            if now - sent_at > _PATIENCE:
                connection.give_up()  # nothing comes back on it, so nothing will
            raise


class TimedBackend(SimulatedBackend):
    """A `SimulatedBackend` that tells the time, as Redis does with TIME: caches go by the store's clock."""

    async def time(self) -> float:
        """Return the store's clock, Unix seconds."""
        seconds: float = await self._call("time")
        return seconds


class FedBackend(TimedBackend):
    """A `TimedBackend` with a feed."""

    async def feed(self, prefix: str) -> AsyncIterator[FeedEvent]:
        """Yield the changes of keys that start with `prefix`, for ever."""
        while True:
            connection = Connection(self.store, self.link, self.process, prefix=None)
            connection.noloop = self.noloop
            try:
                async for event in self._listen(connection, prefix):
                    yield event
            finally:
                connection.give_up()
                self.store.forget(connection)
            yield Lost()
            await asyncio.sleep(0.02 + 0.1 * self.link.chance.random())

    async def _listen(self, connection: Connection, prefix: str) -> AsyncIterator[FeedEvent]:
        loop = self.store.loop
        if not self.store.up:
            return
        connection.prefix = prefix  # from here on the server tells; events before the first answer count too
        pings: deque[tuple[asyncio.Future[Any], float]] = deque()
        due = loop.time()
        while not connection.given_up:
            while pings and pings[0][0].done():
                ping, sent_at = pings.popleft()
                if ping.exception() is None:
                    connection.deliver(Alive(sent_at))
            while connection.events:
                yield connection.events.popleft()
            now = loop.time()
            if pings and not self.patient and now - pings[0][1] + self.clock.monotonic() - now > _PING_PATIENCE:
                return
            if now >= due:
                due = now + _HEARTBEAT
                ping = connection.send(("time",))
                ping.add_done_callback(lambda _: connection.wake())
                pings.append((ping, self.clock.monotonic()))
            connection.woken = loop.create_future()
            timer = loop.call_at(due, connection.wake)
            try:
                await connection.woken
            finally:
                timer.cancel()
