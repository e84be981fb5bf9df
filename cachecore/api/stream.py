"""The iterator that an application gets for a stream."""

from __future__ import annotations

import asyncio
import os
from types import TracebackType
from typing import Generic, Self, TypeVar

from cachecore.contract.errors import CacheError
from cachecore.contract.results import Lookup
from cachecore.engine.stream import Source, StreamCall, begin

C = TypeVar("C")


class Stream(Generic[C]):
    """The chunks of one answer, for one reader: `async for chunk in cache.stream(…)`.

    Nothing is asked before the first chunk is. Leaving the loop, `aclose`, the end of an `async with` block, or a
    cancelled read leaves the stream; it ends when its last reader has left. Belongs to the event loop that reads it.
    """

    __slots__ = ("__weakref__", "_call", "_loop", "_over", "_pid", "_reading", "_source")

    def __init__(self, call: StreamCall) -> None:
        self._call = call
        self._source: Source | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0
        self._reading = False
        self._over = ""  # why there are no more chunks, if there are none

    @property
    def lookup(self) -> Lookup[None] | None:
        """Where the chunks come from and how old they are, as `Cache.lookup` tells; None before the first chunk."""
        return None if self._source is None else self._source.lookup

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> C:
        """Return the next chunk.

        Raises the factory's own exception, TimeoutError after a gap of `factory_timeout`, StreamLagged.
        """
        self._check()
        self._reading = True
        try:
            if self._source is None:
                self._source = await begin(self._call)
            chunk: C = await self._source.next()
        except StopAsyncIteration:
            self._end("ended")
            raise
        except BaseException as error:
            self._end(f"broke off with {type(error).__name__}")
            raise
        finally:
            self._reading = False
        return chunk

    def _check(self) -> None:
        if self._over in ("ended", "was closed"):
            raise StopAsyncIteration
        if self._over:  # no end: the chunks so far are not the whole answer
            raise CacheError(f"this stream {self._over}: ask for a new one")
        if self._reading:
            raise CacheError("another task is reading this stream: ask for one stream for each reader")
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop, self._pid = loop, os.getpid()
        elif loop is not self._loop:  # or in a forked child, which has none of its parent's
            raise CacheError("this stream belongs to another event loop: ask for a new one")

    def _end(self, why: str) -> None:
        self._over = why
        if self._source is not None:
            self._source.leave()

    async def aclose(self) -> None:
        """Leave the stream. Idempotent."""
        if not self._over:
            self._over = "was closed"
            if self._source is not None:
                await self._source.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        # By a `break`, most of all. The collector may run in any thread, and after a fork.
        source, loop = self._source, self._loop
        if source is None or self._over or loop is None or loop.is_closed() or os.getpid() != self._pid:
            return
        loop.call_soon_threadsafe(source.leave)

    def __repr__(self) -> str:
        return f"<stream {self._over or ('under way' if self._loop else 'not begun')}>"
