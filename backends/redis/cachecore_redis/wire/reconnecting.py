"""A channel: a lane that is opened when it is first needed, and opened again when it was lost.

Opening is redis-py's work (addresses, TLS, ACL users, credential providers, Sentinel): it makes a connection and
authenticates it, then the transport is handed to a `Lane`. One attempt at a time, shared by all who wait; after a
failed one, everybody fails at once until the next may be made.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from cachecore.contract.errors import BackendError, BackendUnavailable
from cachecore_redis.wire.connection import Lane
from cachecore_redis.wire.errors import failure, translate

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection

_FIRST_WAIT: Final = 0.2
_LONGEST_WAIT: Final = 0.25
_PROVEN: Final = 0.4
"""Seconds after which a connection that has answered counts as healthy. More than the longest wait, so that a server
that logs its clients in, answers them and hangs up is not connected to more often than one that refuses."""
_WORTH: Final = 8
"""Answers after which it does so, too, however young it is: then connections cost less than what they are used for."""
_YOUNG: Final = 1.0
"""Seconds before a lane may be replaced because its server says that it is the wrong one."""


class Backoff:
    """When the next attempt to reach one address may be made; shared by all loops of a process.

    From 0.2 to 0.31 s, jittered: at most five attempts a second, and a store that comes back is found within a second.
    After a connection that did not last the next is opened at once; if that does not last either, those that open anew
    wait for each other until one has proven itself.
    Without a lock, which a fork could leave locked: threads that race make one attempt too many at worst.
    """

    def __init__(self, chance: random.Random | None = None) -> None:
        self.reason = "unavailable"
        self.transient = True
        self._chance = chance or random.Random()  # noqa: S311 - spreads load, guards nothing
        self._failures = 0
        self._not_before = 0.0  # monotonic seconds
        self._proven = math.inf  # monotonic seconds; when a connection will have lasted, after some that did not
        self._suspicious_since = math.inf  # monotonic seconds

    def may_try(self) -> bool:
        """Return whether an attempt may be made now, and if so count it as made."""
        now = time.monotonic()
        if now >= self._proven:
            self.recovered()
        if now < self._not_before:
            return False
        if self._failures:
            self._not_before = now + self._wait()
        return True

    def delay(self) -> float:
        """Return the seconds until an attempt may be made."""
        return max(0.0, self._not_before - time.monotonic())

    def failed(self, reason: str, transient: bool) -> None:
        """Count a failed attempt."""
        self._failures += 1
        self.reason, self.transient = reason, transient
        self._not_before = time.monotonic() + self._wait()
        self._proven = math.inf

    def died_young(self, reason: str, transient: bool, age: float) -> None:
        """Count a connection that opened, answered and did not last; for the first one, and those as old, only warn."""
        now = time.monotonic()
        if now >= self._proven:
            self.recovered()
        if self._suspicious_since == math.inf:
            self._suspicious_since = now
        if now - age > self._suspicious_since:
            self.failed(reason, transient)

    def succeeded(self) -> None:
        """Forget the failures; if the last connections did not last, once this one has."""
        if self._suspicious_since == math.inf:
            self.recovered()
        elif self._proven == math.inf:
            self._proven = time.monotonic() + _PROVEN

    def recovered(self) -> None:
        """Forget the failures."""
        self._failures = 0
        self._not_before = 0.0
        self._proven = math.inf
        self._suspicious_since = math.inf

    def _wait(self) -> float:
        wait = min(_LONGEST_WAIT, _FIRST_WAIT * 1.5 ** min(self._failures - 1, 10))
        return wait * self._chance.uniform(1.0, 1.25)


class Dialer(Protocol):
    """Makes unopened connections to one server, whichever it is at the moment."""

    connect_timeout: float
    timeout: float

    async def connection(self) -> AbstractConnection:
        """Return a redis-py connection, not yet connected, to where the server is now."""

    def downgrade(self, error: Exception) -> bool:
        """Return whether `error` means that the server speaks only RESP2 and the next connection will, too."""


class _Attempt:
    """One connection on its way from redis-py to a lane."""

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer
        self._connection: Any = None
        self._lane = Lane(asyncio.get_running_loop(), dialer.timeout)

    async def run(self) -> Lane:
        connection: Any = await self._dialer.connection()
        self._connection = connection
        await connection.connect()
        reader, writer = connection._reader, connection._writer  # noqa: SLF001 - the transport is not public
        connection._reader = connection._writer = None  # noqa: SLF001 - its finaliser would close the socket
        self._lane.protocol = int(connection.protocol)
        # The writer goes along: it closes the transport when it is collected.
        self._lane.attach(writer.transport, writer, bytes(reader._buffer))  # noqa: SLF001 - came with the last reply
        return self._lane

    def abandon(self, task: asyncio.Task[Lane]) -> None:
        """Cancel the attempt; abort its socket, since redis-py may swallow the cancellation."""
        task.add_done_callback(self._abandoned)
        task.cancel()  # which may come too late: then the lane is closed all the same
        writer = getattr(self._connection, "_writer", None)
        if writer is not None:
            writer.transport.abort()

    def _abandoned(self, task: asyncio.Task[Lane]) -> None:
        if not task.cancelled():
            task.exception()  # looked at, so that nobody is told that it was not
        self._lane.close()


async def dial(dialer: Dialer) -> Lane:
    """Return a new lane. Takes at most the dialer's `connect_timeout`; raises what redis-py or the socket raised."""
    attempt = _Attempt(dialer)
    task = asyncio.get_running_loop().create_task(attempt.run())
    # Not asyncio.timeout: on Python 3.11 redis-py swallows cancellations while it sends, so a deadline that works by
    # cancelling may never fire. The attempt is abandoned instead.
    try:
        await asyncio.wait({task}, timeout=dialer.connect_timeout)
    except asyncio.CancelledError:
        attempt.abandon(task)
        raise
    if not task.done():
        attempt.abandon(task)
        raise TimeoutError("connecting took too long")
    return task.result()


class Channel:
    """The way to one server from one loop. `lane` is the open lane, or None; `ready` opens it."""

    def __init__(self, dialer: Dialer, backoff: Backoff) -> None:
        self.lane: Lane | None = None
        self.on_lane: list[Callable[[Lane], None]] = []
        self.on_lost: list[Callable[[Lane], None]] = []
        self.on_failed: list[Callable[[], None]] = []
        self._dialer = dialer
        self._backoff = backoff
        self._opening: asyncio.Task[Lane] | None = None
        self._closed = False

    @property
    def retry_in(self) -> float:
        """Seconds until another attempt may be made."""
        return self._backoff.delay()

    async def ready(self, operation: str) -> Lane:
        """Return the open lane; opens it, or joins the attempt under way.

        Raises:
            BackendError: the attempt failed, or the last one did and the next is not due.
        """
        while self.lane is None:
            opening = self._opening or self._start(operation)
            try:
                # Shielded: the attempt belongs to all who wait for it, and to who comes next.
                return await asyncio.shield(opening)
            except BackendError as error:
                # One each: an exception shared by many callers gathers the tracebacks of all of them.
                raise failure(operation, error.reason, error.transient) from error.__cause__
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if not opening.cancelled() or (task is not None and task.cancelling()):
                    raise
                # The attempt was given up, not the caller: the next one, or the end.
        return self.lane

    def _start(self, operation: str) -> asyncio.Task[Lane]:
        if self._closed:
            raise BackendUnavailable(operation, transient=False, reason="closed")
        if not self._backoff.may_try():
            raise failure(operation, self._backoff.reason, self._backoff.transient)
        # In a context of its own: the attempt is nobody's request.
        opening = asyncio.get_running_loop().create_task(self._open(operation), context=contextvars.Context())
        opening.add_done_callback(self._opened)
        self._opening = opening
        return opening

    async def _open(self, operation: str) -> Lane:
        from redis.exceptions import RedisError, ResponseError

        try:
            try:
                lane = await dial(self._dialer)
            except ResponseError as error:
                if not self._dialer.downgrade(error):
                    raise
                lane = await dial(self._dialer)
        except (RedisError, OSError, EOFError) as error:
            wrapped = translate(operation, error)
            self._backoff.failed(wrapped.reason, wrapped.transient)
            for failed in self.on_failed:
                failed()
            raise wrapped from error
        old, self.lane = self.lane, lane
        lane.on_lost = self._lost
        self._backoff.succeeded()
        if not lane.alive:
            self._lost(lane)
        else:
            for opened in self.on_lane:
                opened(lane)
        if old is not None:
            old.retire()
        return lane

    def _opened(self, task: asyncio.Task[Lane]) -> None:
        if self._opening is task:
            self._opening = None
        if not task.cancelled():
            task.exception()  # those who waited have it; nobody may have

    def _lost(self, lane: Lane) -> None:
        if self.lane is not lane:
            return
        self.lane = None
        # A lane that never answered, or not for long, counts as a failed attempt: a server that accepts and hangs up
        # must not be connected to in a circle. One that did was closed for being idle, or by a restart.
        age = asyncio.get_running_loop().time() - lane.born
        if not self._closed and (not lane.served or (age < _PROVEN and lane.served < _WORTH)):
            why = translate("", lane.error or ConnectionResetError())
            if lane.served:
                self._backoff.died_young(why.reason, why.transient, age)
            else:
                self._backoff.failed(why.reason, why.transient)
        for lost in self.on_lost:
            lost(lane)

    def failure(self, operation: str, error: OSError) -> BackendError:
        """Return the error of the contract for a lane that was lost.

        One that we closed ourselves, as when its loop ends over calls, says nothing about the server.
        """
        if self._closed:
            return BackendUnavailable(operation, transient=False, reason="closed")
        return translate(operation, error)

    def replace(self) -> None:
        """Open another lane behind, and let it take over: the server at the end of this one is not the right one.

        Nothing happens for a lane younger than a second: the address leads to the same server again.
        """
        lane = self.lane
        if lane is None or self._opening is not None or self._closed:
            return
        if asyncio.get_running_loop().time() - lane.born < _YOUNG or self._backoff.delay() > 0:
            return
        self._start("connect")

    def restart(self) -> None:
        """Leave the server at once: another one has taken its place. What waits there fails as reset."""
        if self._opening is not None:
            self._opening.cancel()
            self._opening = None
        if self.lane is not None:
            self.lane.close()
        self._backoff.recovered()

    def close(self) -> None:
        """Close the lane and stop opening one. Must be called in the channel's loop."""
        self._closed = True
        lane, self.lane = self.lane, None
        if self._opening is not None:
            self._opening.cancel()
        if lane is not None:
            lane.close()
