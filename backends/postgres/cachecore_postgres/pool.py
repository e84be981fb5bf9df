"""The connections of one event loop, and which loop has which.

A call waits for a connection to be opened only while there is none; further ones are opened behind. psycopg's own pool
is not used: after an outage it tries again after seconds, and it outlives neither a fork nor the end of its loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import math
import os
import weakref
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from typing import Any, Final

from cachecore.contract import Link, LoopLocal, in_background
from cachecore_postgres.connection import Connection
from cachecore_postgres.errors import backend_error, translate

_NO_LINK: Final = Link("", -math.inf)


class Pool:
    """At most `size` connections and the tasks that use them; used in one event loop only."""

    def __init__(self, opened: Callable[[], Awaitable[Connection]], size: int) -> None:
        self._opened = opened
        self._size = size
        self._idle: list[Connection] = []
        self._waiters: deque[asyncio.Future[Connection]] = deque()
        self._count = 0
        self._opening = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self.link: Link | None = None
        """As `SupportsLinks.link` returns it."""
        self.begun: list[Any] = []
        """The writes that began in this turn of the loop."""
        self.ended = False
        self.over = asyncio.Event()
        self.end: AsyncGenerator[None, None] | None = None

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` in a task that ends with this pool at the latest."""
        task = in_background(asyncio.get_running_loop().create_task(work, context=contextvars.Context()))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def take(self, operation: str) -> Connection:
        """Return a connection that is the caller's until it is given back. Raises `BackendError`."""
        while self._idle:
            connection = self._idle.pop()
            if connection.sound():
                return connection
            self._forget(connection)
        if self.ended:
            raise backend_error(operation, "closed", False)
        waiter: asyncio.Future[Connection] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._grow()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self.give(waiter.result())
            raise
        except Exception as error:
            raise translate(operation, error) from error

    def give(self, connection: Connection) -> None:
        """Take back a connection; it is closed unless it is idle."""
        if self.ended or not connection.idle:
            self._forget(connection)
            if self._waiters:
                self._grow()
            return
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return
        self._idle.append(connection)

    def _forget(self, connection: Connection) -> None:
        connection.pgconn.finish()
        self._count -= 1
        if self._count == 0:
            self.link = None

    def _grow(self) -> None:
        if not self._opening and self._count < self._size and not self.ended:
            self._opening = True
            self.start(self._open())

    async def _open(self) -> None:
        try:
            connection = await self._opened()
        except Exception as error:  # noqa: BLE001 - whichever it is, the calls that wait raise it
            if self._count == 0:
                self.link = _NO_LINK
                self._fail(error)
            return
        finally:
            self._opening = False
        self._count += 1
        if self._count == 1:
            where = connection.info.hostaddr or connection.info.host
            self.link = Link(f"{where}:{connection.info.port}", asyncio.get_running_loop().time())
        self.give(connection)
        if self._waiters:
            self._grow()

    def _fail(self, error: BaseException) -> None:
        waiters, self._waiters = self._waiters, deque()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(error)

    def close(self) -> None:
        """Close every connection and end every task. Idempotent."""
        self.ended = True
        self.over.set()
        self._fail(backend_error("close", "closed", False))
        for task in list(self._tasks):
            task.cancel()
        while self._idle:
            self._forget(self._idle.pop())


class Pools:
    """A pool for each event loop of this process, closed when its loop ends; a forked child starts anew."""

    def __init__(self, make: Callable[[], Pool]) -> None:
        self._make = make
        self._kept: LoopLocal[Pool] = LoopLocal()
        self.closed = False
        weakref.finalize(self, _close_all, self._kept).atexit = False
        _instances.add(self)

    def current(self) -> Pool | None:
        """Return the running loop's pool, if it has one."""
        return self._kept.get(asyncio.get_running_loop())

    def get(self, operation: str) -> Pool:
        """Return the running loop's pool. Raises `BackendUnavailable` when closed, or while the loop ends."""
        loop = asyncio.get_running_loop()
        pool = self._kept.get(loop)
        if self.closed or (pool is not None and pool.ended):
            raise backend_error(operation, "closed", False)
        if pool is None:
            pool = self._make()
            # A loop that ends closes the generators that began in it: the only public signal of its end.
            pool.end = _until_its_end(pool)
            with contextlib.suppress(StopIteration):
                pool.end.asend(None).send(None)
            self._kept.set(loop, pool)
        return pool

    async def aclose(self) -> None:
        """Close every pool: that of this loop now, those of others soon, in their loops. Idempotent."""
        self.closed = True
        pool = self.current()
        _close_all(self._kept)
        if pool is not None and pool.end is not None:
            await pool.end.aclose()
        await asyncio.sleep(0)  # cancelled tasks end in the next turn of the loop

    def forget(self) -> None:
        """Start anew in a forked child; psycopg closes no connection that another process made."""
        self._kept.forget()


async def _until_its_end(pool: Pool) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        pool.close()


def _close_all(kept: LoopLocal[Pool]) -> None:
    for loop, pool in kept.items():
        with contextlib.suppress(RuntimeError):  # it is closed, and its connections with it
            loop.call_soon_threadsafe(pool.close)


_instances: weakref.WeakSet[Pools] = weakref.WeakSet()


def _forget_all() -> None:
    for instance in list(_instances):
        instance.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
