"""Commands in flight that need no task: the connection gives the replies to an object here, and its future the answer.

A task and a turn of the loop would be a third of the cost of a read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Generic, Protocol, TypeVar

from cachecore.contract import BackendError, InlineFuture
from cachecore_redis.node.large import LargeKeys
from cachecore_redis.wire import commands
from cachecore_redis.wire.connection import Connection, Reply
from cachecore_redis.wire.errors import translate

Values = list[bytes | None]
T = TypeVar("T")


class Refused(Exception):  # noqa: N818 - never leaves this package
    """A reply that is no answer to its command."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply)
        self.reply = reply


class Sender(Protocol):
    """The node, as far as an object here needs it."""

    large: LargeKeys

    def in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` in a task."""

    def reply_error(self, operation: str, reply: Reply) -> BackendError:
        """Return the error for an error reply."""

    def lost(self, operation: str, error: OSError) -> BackendError:
        """Return the error for the loss of the connection."""

    async def read(self, operation: str, command: bytes) -> Reply:
        """Return the reply to a command that may be sent twice."""

    async def ask_many(self, operation: str, batch: list[bytes]) -> list[Reply]:
        """Return the replies to commands sent together."""


class ReadInFlight(InlineFuture[Values]):
    """One GET or MGET in flight, and the future of its values: the connection gives it the reply.

    A read needs no task: the reply becomes the caller's values as soon as it comes. A task and a turn of the loop would
    be a third of the cost of a read, and a receiver beside the future a tenth.
    """

    def __init__(self, node: Sender, keys: Sequence[str], connection: Connection) -> None:
        """Send the command over `connection`."""
        super().__init__(loop=connection.loop)
        self._node = node
        self._keys = keys
        connection.request_for(commands.get(keys), self)

    def set_result(self, reply: Reply, /) -> None:
        """Take the reply."""
        values = self._node.large.values_of(self._keys, reply)
        if type(values) is list:
            InlineFuture.set_result(self, values)
        else:
            InlineFuture.set_exception(self, self._node.reply_error("get_many", values))

    def set_exception(self, error: type | BaseException, /) -> None:
        """Take the loss of the connection; if the server closed it, read again on a new one, once (see `Node.read`)."""
        if isinstance(error, ConnectionResetError):
            self._node.in_background(self._again())
        elif isinstance(error, OSError):
            translated = translate("get_many", error)
            translated.__cause__ = error
            InlineFuture.set_exception(self, translated)
        else:
            InlineFuture.set_exception(self, error)

    async def _again(self) -> None:
        try:
            reply = await self._node.read("get_many", commands.get(self._keys))
        except BackendError as error:
            if not self.done():
                InlineFuture.set_exception(self, error)
        except asyncio.CancelledError:
            self.cancel()
            raise
        else:
            if not self.done():
                self.set_result(reply)


class BatchReceiver(Generic[T]):
    """Commands that were sent together: `future` gets the result of `take` with all replies.

    `take` raises `Refused` for a reply that is none; `instead` may say what is to be done then.
    """

    __slots__ = ("_batch", "_instead", "_node", "_operation", "_take", "_twice", "future")

    def __init__(
        self,
        node: Sender,
        operation: str,
        batch: list[bytes],
        take: Callable[[list[Reply]], T],
        instead: Callable[[Reply], Coroutine[Any, Any, T] | None] | None = None,
    ) -> None:
        self.future: InlineFuture[T] = InlineFuture(loop=asyncio.get_running_loop())
        self._instead = instead
        self._node = node
        self._operation = operation
        self._batch = batch
        self._take = take
        self._twice = False

    def begin(self, connection: Connection, *, twice: bool = False, write: bool = False) -> asyncio.Future[T]:
        """Send the commands over `connection` and return the future; `twice` if they may be sent twice.

        Those that may wait for the next command of this turn: see `Connection.joins_writes` for a `write`.
        """
        self._twice = twice
        connection.request_many_for(self._batch, self, write=write, more=twice)
        return self.future

    def done(self) -> bool:
        """Return whether the replies are no longer wanted."""
        return self.future.done()

    def set_result(self, replies: list[Reply]) -> None:
        """Take the replies."""
        try:
            result = self._take(replies)
        except Refused as refused:
            instead = None if self._instead is None else self._instead(refused.reply)
            if instead is None:
                self.future.set_exception(self._node.reply_error(self._operation, refused.reply))
            else:
                self._node.in_background(self._finish(instead))
        else:
            self.future.set_result(result)

    def set_exception(self, error: BaseException) -> None:
        """Take the loss of the connection; reads are sent again on a new one, once (see `Node.read`)."""
        if self._twice and isinstance(error, ConnectionResetError):
            self._twice = False
            self._node.in_background(self._again())
        elif isinstance(error, OSError):
            failure = self._node.lost(self._operation, error)
            failure.__cause__ = error
            self.future.set_exception(failure)
        else:
            self.future.set_exception(error)

    async def _again(self) -> None:
        try:
            replies = await self._node.ask_many(self._operation, self._batch)
        except BackendError as error:
            if not self.done():
                self.future.set_exception(error)
        except asyncio.CancelledError:
            self.future.cancel()
            raise
        else:
            if not self.done():
                self.set_result(replies)

    async def _finish(self, work: Coroutine[Any, Any, T]) -> None:
        try:
            result = await work
        except BackendError as error:
            if not self.done():
                self.future.set_exception(error)
        except asyncio.CancelledError:
            self.future.cancel()
            raise
        else:
            if not self.done():
                self.future.set_result(result)
