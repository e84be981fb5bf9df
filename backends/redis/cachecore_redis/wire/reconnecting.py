"""A connection that is opened when first needed, and opened again after it was lost.

Opening is redis-py's work (addresses, TLS, ACL users, credential providers, Sentinel): it connects and authenticates,
then the transport is handed to a `Connection`. One attempt is made at a time, shared by all callers that wait for it.
After a failed attempt calls fail at once until the next attempt is due.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from cachecore.contract import BackendError, BackendUnavailable, Link
from cachecore_redis.wire.connection import Connection
from cachecore_redis.wire.errors import backend_error, translate

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection

_FIRST_WAIT: Final = 0.2
_LONGEST_WAIT: Final = 0.25
_PROVEN: Final = 0.4
"""Seconds after which a connection that has answered counts as healthy. More than the longest wait, so that a server
that logs its clients in, answers them and hangs up is connected to no more often than one that refuses."""
_WORTH: Final = 8
"""Answers after which a connection counts as healthy at any age: by then connecting costs less than its use."""
_YOUNG: Final = 1.0
"""Seconds before a connection may be replaced because its server turned out to be the wrong one."""


NO_LINK: Final = Link("", -math.inf)
"""No connection is open, and no call waits for one."""


class Backoff:
    """Decides when one address may be connected to again; shared by all loops of a process.

    Waits are 0.2 to 0.31 s, jittered: at most five attempts a second, and a store that comes back is found within a
    second. After a short-lived connection the next one is opened at once. If that is short-lived too, the connections
    to this address wait for each other until one has lasted.
    There is no lock, because a fork could leave it locked: racing threads make one attempt too many at worst.
    """

    def __init__(self, chance: random.Random | None = None) -> None:
        self.reason = "unavailable"
        self.transient = True
        self._chance = chance or random.Random()  # noqa: S311 - spreads load, guards nothing
        self._failures = 0
        self._not_before = 0.0  # monotonic seconds
        self._proven = math.inf  # monotonic seconds at which a connection counts as lasting; inf: none is on trial
        self._suspicious_since = math.inf  # monotonic seconds
        self._silent = False  # the last connection was given up because nothing came on it

    @property
    def hopeful(self) -> bool:
        """Whether the last attempt ended well, or there was none: then callers may wait for the next one."""
        return not self._failures and not self._silent

    def fell_silent(self) -> None:
        """Take note that a connection was given up because nothing came on it."""
        self._silent = True

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
        """Count a short-lived connection that had answered; `age` in seconds.

        The first one, and those opened before its loss, only raise suspicion.
        """
        now = time.monotonic()
        if now >= self._proven:
            self.recovered()
        if self._suspicious_since == math.inf:
            self._suspicious_since = now
        if now - age > self._suspicious_since:
            self.failed(reason, transient)

    def succeeded(self) -> None:
        """Forget the failures: at once, or after short-lived connections when this one has lasted."""
        self._silent = False
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
    """Makes unopened connections to one server, the address of which may change."""

    connect_timeout: float
    timeout: float

    async def driver_connection(self) -> AbstractConnection:
        """Return a redis-py connection, not yet connected, to the current address of the server."""

    def downgrade(self, error: Exception) -> bool:
        """Switch to RESP2 if `error` says that the server lacks RESP3; return whether it did."""


class _Attempt:
    """One attempt: redis-py opens a connection, and its transport becomes that of a `Connection`."""

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer
        self._driver: Any = None
        self._connection = Connection(asyncio.get_running_loop(), dialer.timeout)

    async def run(self) -> Connection:
        driver: Any = await self._dialer.driver_connection()
        self._driver = driver
        try:
            await driver.connect()
        except Exception:  # redis-py makes an error of its own of a cancellation
            _raise_if_cancelled()
            raise
        reader, writer = driver._reader, driver._writer  # noqa: SLF001 - the transport is not public
        driver._reader = driver._writer = None  # noqa: SLF001 - its finaliser would close the socket
        self._connection.protocol = int(driver.protocol)
        path = getattr(driver, "path", None)
        self._connection.address = str(path) if path else f"{driver.host}:{driver.port}"
        # The writer is kept as the owner: it closes the transport when it is collected.
        self._connection.attach(writer.transport, writer, bytes(reader._buffer))  # noqa: SLF001 - came with the last reply
        return self._connection

    def abandon(self, task: asyncio.Task[Connection]) -> None:
        """Cancel the attempt; abort its socket, since redis-py may swallow the cancellation."""
        task.add_done_callback(self._abandoned)
        task.cancel()  # may come too late; `_abandoned` closes the connection then
        writer = getattr(self._driver, "_writer", None)
        if writer is not None:
            writer.transport.abort()

    def _abandoned(self, task: asyncio.Task[Connection]) -> None:
        if not task.cancelled():
            task.exception()  # retrieved, so that asyncio does not log it
        self._connection.close()


def _raise_if_cancelled() -> None:
    """Raise CancelledError where redis-py has made an error of its own of one: a loop that ends reports such errors."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def dial(dialer: Dialer) -> Connection:
    """Return a new connection, within the dialer's `connect_timeout`.

    Raises:
        TimeoutError: it took longer.
        RedisError, OSError, EOFError: as raised by redis-py or the socket.
    """
    attempt = _Attempt(dialer)
    task = asyncio.get_running_loop().create_task(attempt.run())
    # Not asyncio.timeout, which cancels: on Python 3.11 redis-py swallows cancellations while it sends, so that such a
    # deadline may never fire. The attempt is abandoned instead.
    try:
        await asyncio.wait({task}, timeout=dialer.connect_timeout)
    except asyncio.CancelledError:
        attempt.abandon(task)
        raise
    if not task.done():
        attempt.abandon(task)
        raise TimeoutError("connecting took too long")
    return task.result()


class ReconnectingConnection:
    """The connection of one loop to one server. `current` is the open one, or None; `ready` opens it."""

    def __init__(self, dialer: Dialer, backoff: Backoff) -> None:
        self.current: Connection | None = None
        self.on_opened: list[Callable[[Connection], None]] = []
        self.on_lost: list[Callable[[Connection], None]] = []
        self.on_failed: list[Callable[[], None]] = []
        self._dialer = dialer
        self._backoff = backoff
        self._opening: asyncio.Task[Connection] | None = None
        self._closed = False

    @property
    def retry_in(self) -> float:
        """Seconds until another attempt may be made."""
        return self._backoff.delay()

    def link(self) -> Link | None:
        """Return the open connection; None while the first attempt since the last good one is being made."""
        connection = self.current
        if connection is not None:
            return Link(connection.address, connection.born)
        return None if self._opening is not None and self._backoff.hopeful else NO_LINK

    async def ready(self, operation: str) -> Connection:
        """Return the open connection; opens it, or joins the running attempt.

        Raises:
            BackendError: the attempt failed, or the last one did and the next is not due.
        """
        while self.current is None:
            opening = self._opening or self._start(operation)
            try:
                # Shielded: other callers wait for this attempt, too.
                return await asyncio.shield(opening)
            except BackendError as error:
                # One each: an exception shared by many callers gathers the tracebacks of all of them.
                raise backend_error(operation, error.reason, error.transient) from error.__cause__
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if not opening.cancelled() or (task is not None and task.cancelling()):
                    raise
                # The attempt was cancelled, not this caller: join the next one, or fail as closed.
        return self.current

    def _start(self, operation: str) -> asyncio.Task[Connection]:
        if self._closed:
            raise BackendUnavailable(operation, transient=False, reason="closed")
        if not self._backoff.may_try():
            raise backend_error(operation, self._backoff.reason, self._backoff.transient)
        # In an empty context: the attempt belongs to no single request.
        opening = asyncio.get_running_loop().create_task(self._open(operation), context=contextvars.Context())
        opening.add_done_callback(self._opened)
        self._opening = opening
        return opening

    async def _open(self, operation: str) -> Connection:
        from redis.exceptions import RedisError, ResponseError

        try:
            try:
                connection = await dial(self._dialer)
            except ResponseError as error:
                if not self._dialer.downgrade(error):
                    raise
                connection = await dial(self._dialer)
        except (RedisError, OSError, EOFError) as error:
            wrapped = translate(operation, error)
            if wrapped.reason == "timeout":
                wrapped = backend_error(operation, "connect_timeout", True)
            self._backoff.failed(wrapped.reason, wrapped.transient)
            for failed in self.on_failed:
                failed()
            raise wrapped from error
        old, self.current = self.current, connection
        connection.on_lost = self._lost
        self._backoff.succeeded()
        if not connection.alive:
            self._lost(connection)
        else:
            for opened in self.on_opened:
                opened(connection)
        if old is not None:
            old.retire()
        return connection

    def _opened(self, task: asyncio.Task[Connection]) -> None:
        if self._opening is task:
            self._opening = None
        if not task.cancelled():
            task.exception()  # retrieved: there may be no waiting caller

    def _lost(self, connection: Connection) -> None:
        if self.current is not connection:
            return
        self.current = None
        # A connection that never answered, or was lost young after few answers, counts as a failed attempt: a server
        # that accepts and hangs up must not be connected to in a circle. Others were closed as idle, or by a restart.
        age = asyncio.get_running_loop().time() - connection.born
        if isinstance(connection.error, TimeoutError):
            self._backoff.fell_silent()
        if not self._closed and (not connection.served or (age < _PROVEN and connection.served < _WORTH)):
            loss = translate("", connection.error or ConnectionResetError())
            if connection.served:
                self._backoff.died_young(loss.reason, loss.transient, age)
            else:
                self._backoff.failed(loss.reason, loss.transient)
        for lost in self.on_lost:
            lost(connection)

    def loss_error(self, operation: str, error: OSError) -> BackendError:
        """Return the contract's error for a connection that was lost.

        The reason is `closed`, no fault of the server, if this process closed it, as when its loop ends during calls.
        """
        if self._closed:
            return BackendUnavailable(operation, transient=False, reason="closed")
        return translate(operation, error)

    def replace(self) -> None:
        """Open another connection in the background and let it take over: this one leads to the wrong server.

        Nothing happens for a connection younger than a second: the address leads to the same server again.
        """
        connection = self.current
        if connection is None or self._opening is not None or self._closed:
            return
        if asyncio.get_running_loop().time() - connection.born < _YOUNG or self._backoff.delay() > 0:
            return
        self._start("connect")

    def restart(self) -> None:
        """Leave the server at once: another one has taken its place. Unanswered commands fail as reset."""
        if self._opening is not None:
            self._opening.cancel()
            self._opening = None
        if self.current is not None:
            self.current.close()
        self._backoff.recovered()

    def close(self) -> None:
        """Close the connection for good. Must be called in its loop."""
        self._closed = True
        connection, self.current = self.current, None
        if self._opening is not None:
            self._opening.cancel()
        if connection is not None:
            connection.close()
