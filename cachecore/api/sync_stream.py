"""Streams for threads: the iterator for a thread, and the thread in which a generator runs.

A generator runs in a thread of its own, in a copy of the first reader's context: it belongs to the stream, which goes
on when its first reader has left. Chunks cross in both directions one by one, so that a generator is never ahead of
its readers by more than the buffer holds.
"""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

from cachecore.api.loop_thread import LoopThread
from cachecore.api.stream import Stream
from cachecore.contract.errors import CacheError, OptionsError
from cachecore.contract.results import Lookup
from cachecore.engine.factories import called_for_chunks

C = TypeVar("C")

_END: Final = object()


class SyncStream(Generic[C]):
    """The chunks of one answer, for one reader: `for chunk in cache.stream(…)`; see `Stream`."""

    __slots__ = ("_reading", "_stream", "_thread")

    def __init__(self, stream: Stream[C], thread: LoopThread) -> None:
        self._stream = stream
        self._thread = thread
        self._reading = threading.Lock()

    @property
    def lookup(self) -> Lookup[None] | None:
        """Where the chunks come from and how old they are; None before the first chunk."""
        return self._stream.lookup

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> C:
        """Return the next chunk. Raises as `Stream.__anext__`."""
        if not self._reading.acquire(blocking=False):
            raise CacheError("another thread is reading this stream: ask for one stream for each reader")
        try:
            running = self._thread.submit(_next(self._stream))
            try:
                chunk = running.result()
            except BaseException:  # Ctrl-C above all: the read in the loop's thread ends with its caller
                running.cancel()
                raise
        finally:
            self._reading.release()
        if chunk is _END:
            raise StopIteration
        kept: C = chunk
        return kept

    def close(self) -> None:
        """Leave the stream. Idempotent."""
        self._thread.leave(self._stream.aclose())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return repr(self._stream)


async def _next(stream: Stream[Any]) -> Any:
    return await anext(stream, _END)


def in_a_thread(factory: Callable[[], Any]) -> Callable[[], AsyncIterator[Any]]:
    """Return the async generator that runs the generator `factory` in a thread of its own, chunk by chunk.

    Raises OptionsError if it is no function.
    """
    if not callable(factory):
        raise OptionsError(f"factory must be a function, not a {type(factory).__name__}")

    async def chunks() -> AsyncIterator[Any]:
        worker = _Worker(factory, asyncio.get_running_loop())
        try:
            while (chunk := await worker.next()) is not _END:
                yield chunk
        finally:
            worker.end()

    chunks.__wrapped__ = factory  # type: ignore[attr-defined]  # tells which function it is that computes
    return chunks


class _Worker:
    """The thread of one generator. Asked from the loop for one chunk at a time."""

    def __init__(self, factory: Callable[[], Any], loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._wanted: queue.SimpleQueue[asyncio.Future[Any] | None] = queue.SimpleQueue()
        context = contextvars.copy_context()
        # A daemon: a generator that hangs is not waited for, neither by its readers nor at the interpreter's end.
        thread = threading.Thread(target=context.run, args=(self._run, factory), name="cachecore-stream", daemon=True)
        thread.start()

    async def next(self) -> Any:
        """Return the next chunk, or `_END`. Raises the generator's own exception."""
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._wanted.put(answer)
        return await answer

    def end(self) -> None:
        """Let the thread close the generator and end, as soon as the generator comes to it."""
        self._wanted.put(None)

    def _run(self, factory: Callable[[], Any]) -> None:
        made: Iterator[Any] | None = None
        try:
            while (answer := self._wanted.get()) is not None:
                chunk: Any = _END
                failure: BaseException | None = None
                try:
                    if made is None:
                        made = called_for_chunks(factory)
                    chunk = next(made, _END)
                except BaseException as error:  # noqa: BLE001 - carried to where it is awaited
                    failure = error
                self._tell(answer, chunk, failure)
        finally:
            close = getattr(made, "close", None)
            if close is not None:
                close()

    def _tell(self, answer: asyncio.Future[Any], chunk: Any, failure: BaseException | None) -> None:
        try:
            self._loop.call_soon_threadsafe(_settle, answer, chunk, failure)
        except RuntimeError:
            pass  # the loop is closed, so no caller waits for this any more


def _settle(answer: asyncio.Future[Any], chunk: Any, failure: BaseException | None) -> None:
    if answer.done():
        return  # timed out or cancelled meanwhile
    if failure is None:
        answer.set_result(chunk)
    elif isinstance(failure, Exception):
        answer.set_exception(failure)
    else:  # SystemExit and the like are not for the loop's thread
        answer.set_exception(RuntimeError(f"the generator raised {type(failure).__name__}"))
