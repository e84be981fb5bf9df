"""The chunks of one running stream, for any number of readers: each gets all of them, in order, at its own pace.

The buffer keeps every chunk until it is full, so that a late reader gets the chunks that have passed first. Once it is
full it becomes a window: the oldest chunks go, no reader joins any more, and a reader whose next chunk has gone lags. A
fast reader never waits for a slow one; the producer waits for the fastest, so that a stream with one slow reader is
slow and whole, as it would be without a cache.

A chunk is handed out as it is only if it cannot be changed; of any other each reader gets a copy. Belongs to one event
loop.
"""

from __future__ import annotations

import asyncio
import copy
import sys
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final

from cachecore.contract.errors import StreamLagged
from cachecore.engine.flights.own_error import own_error
from cachecore.memory.immutable import is_immutable

NOTHING: Final = object()
"""Returned by `Reader.take` where the reader has to wait."""


class Chunk:
    """One chunk as the buffer keeps it. Raises TypeError if it can be changed, but not copied."""

    __slots__ = ("_changeable", "_value", "size")

    def __init__(self, value: Any) -> None:
        self._changeable = not is_immutable(value)
        self._value = _copied(value) if self._changeable else value  # the producer may use the object again
        self.size = _size(value)
        """About how many bytes it takes."""

    def own(self) -> Any:
        """Return the chunk for one reader: a copy of its own where a reader could change it for others."""
        return _copied(self._value) if self._changeable else self._value


class Broadcast:
    """One stream under way.

    Args:
        max_chunks, max_bytes: how much the buffer holds. One chunk is held in any case.
        left: told when a reader has left.
    """

    __slots__ = (
        "_bytes",
        "_chunks",
        "_error",
        "_handed",
        "_left",
        "_max_bytes",
        "_max_chunks",
        "_room",
        "_traceback",
        "_waiting",
        "complete",
        "ended",
        "first",
        "readers",
    )

    def __init__(self, *, max_chunks: int, max_bytes: int, left: Callable[[], None]) -> None:
        self.readers: set[Reader] = set()
        self.first = 0
        """How many chunks the buffer has dropped."""
        self.complete = False
        """Whether the last chunk has come: a later exception is no error of the stream."""
        self.ended = False
        """Whether readers that have had all chunks are told so."""
        self._chunks: deque[Chunk] = deque()
        self._bytes = 0
        self._max_chunks = max_chunks
        self._max_bytes = max_bytes
        self._left = left
        self._waiting: list[asyncio.Future[None]] = []
        self._room: asyncio.Future[None] | None = None
        self._error: BaseException | None = None
        self._traceback: TracebackType | None = None
        self._handed = False

    @property
    def next(self) -> int:
        """The number of the chunk that comes next."""
        return self.first + len(self._chunks)

    @property
    def overflown(self) -> bool:
        """Whether chunks have been dropped."""
        return self.first > 0

    def open(self) -> Reader:
        """Return a new reader, from the first chunk on."""
        reader = Reader(self)
        self.readers.add(reader)
        return reader

    def holds(self, chunk: Chunk) -> bool:
        """Return whether the buffer takes `chunk` without dropping others."""
        if not self._chunks:
            return not self.overflown
        return len(self._chunks) < self._max_chunks and self._bytes + chunk.size <= self._max_bytes

    def append(self, chunk: Chunk) -> None:
        """Give the next chunk to all readers. The oldest chunks are dropped where the buffer is full."""
        self._bytes += chunk.size
        self._chunks.append(chunk)
        while len(self._chunks) > 1 and (len(self._chunks) > self._max_chunks or self._bytes > self._max_bytes):
            self._bytes -= self._chunks.popleft().size
            self.first += 1
        self._wake()

    async def wanted(self) -> None:
        """Wait until a reader wants a chunk that has not come, or there is no reader, or the stream has ended."""
        while self.readers and not self.ended and all(reader.position < self.next for reader in self.readers):
            self._room = asyncio.get_running_loop().create_future()
            try:
                await self._room
            finally:
                self._room = None

    def whole(self) -> list[Any]:
        """Return all chunks, for one caller alone. Only while none has been dropped."""
        return [chunk.own() for chunk in self._chunks]

    def end(self, error: BaseException | None = None) -> None:
        """Let readers end once they have had the present chunks: with `error`, or well. The first end counts."""
        if self.ended:
            return
        self.ended = True
        if not self.complete and error is not None:
            self._error, self._traceback = error, error.__traceback__
        self._wake()
        self._go_on()

    def chunk(self, position: int) -> Any:
        """Return the chunk of that number as the caller's own; NOTHING if it has not come.

        Raises StopAsyncIteration, the stream's error, or StreamLagged.
        """
        index = position - self.first
        if index < 0:
            raise StreamLagged(-index)
        if index < len(self._chunks):
            return self._chunks[index].own()
        if not self.ended:
            self._go_on()
            return NOTHING
        if self._error is None:
            raise StopAsyncIteration
        raise self._own_error(self._error)

    def check_begun(self) -> None:
        """Raise the stream's error if it ended with one before its first chunk."""
        if self.ended and self._error is not None and self.next == 0:
            raise self._own_error(self._error)

    def _own_error(self, error: BaseException) -> BaseException:
        own = own_error(error) or error if self._handed else error
        self._handed = True
        # Without the frames of the readers that raised it before.
        return own.with_traceback(self._traceback)

    def wait(self) -> asyncio.Future[None]:
        """Return a future that is done when there is news."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        return future

    def forget(self, future: asyncio.Future[None]) -> None:
        """Take back a wait that was given up."""
        if future in self._waiting:
            self._waiting.remove(future)

    def leave(self, reader: Reader) -> None:
        """Let a reader go. Idempotent."""
        if reader in self.readers:
            self.readers.discard(reader)
            self._go_on()
            self._left()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def _go_on(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)


class Reader:
    """One reader of a stream, from the first chunk on."""

    __slots__ = ("broadcast", "position")

    def __init__(self, broadcast: Broadcast) -> None:
        self.broadcast = broadcast
        self.position = 0

    def take(self) -> Any:
        """Return the next chunk if it is there, else NOTHING. Raises as `Broadcast.chunk`."""
        chunk = self.broadcast.chunk(self.position)
        if chunk is not NOTHING:
            self.position += 1
        return chunk

    async def wait(self, patience: float | None = None) -> bool:
        """Wait for the next chunk or the end; return whether one of them came within `patience` seconds."""
        broadcast = self.broadcast
        future = broadcast.wait()
        timer = None
        if patience is not None:
            timer = asyncio.get_running_loop().call_later(patience, _finish, future)
        try:
            await future
        except BaseException:  # a cancelled reader waits for nothing any more
            broadcast.forget(future)
            raise
        finally:
            if timer is not None:
                timer.cancel()
                broadcast.forget(future)
        return broadcast.ended or self.position < broadcast.next

    def leave(self) -> None:
        """Go: the stream is no longer kept running for this reader. Idempotent."""
        self.broadcast.leave(self)


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _copied(chunk: Any) -> Any:
    try:
        return copy.deepcopy(chunk)
    except Exception as error:
        raise TypeError(
            f"a chunk of a stream is a {type(chunk).__name__}, which cannot be copied for each of its readers: "
            "yield plain data, such as text, bytes or dicts"
        ) from error


def _size(chunk: Any) -> int:
    """Return about how many bytes a chunk takes."""
    if type(chunk) is str or type(chunk) is bytes:
        return sys.getsizeof(chunk)
    size, ahead, seen = 0, [chunk], {id(chunk)}
    while ahead:
        part = ahead.pop()
        size += sys.getsizeof(part)
        inner: list[Any] = []
        if isinstance(part, dict):
            inner = [*part, *part.values()]
        elif isinstance(part, list | tuple | set | frozenset):
            inner = [*part]
        elif hasattr(part, "__dict__"):
            inner = [part.__dict__]
        for one in inner:
            if id(one) not in seen:
                seen.add(id(one))
                ahead.append(one)
    return size
