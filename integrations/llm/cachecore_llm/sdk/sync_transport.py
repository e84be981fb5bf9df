"""The transport under an SDK's client for threads: the asynchronous one, on a thread with an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final, Self

from cachecore import CacheError, LoopThread, OptionsError
from cachecore_llm.sdk.answers import refused, told
from cachecore_llm.sdk.libraries import Library
from cachecore_llm.sdk.transport import AsyncCachedTransport

_MOST_CHUNKS: Final = 64
"""Chunks that are carried to the reader's thread at once, so that a reader who is slow holds up a long stream."""


class CachedTransport:
    """A transport of `httpx2` or `httpx` for threads that answers calls to models from a cache.

    An answer in memory is given in the caller's own thread. Threads that ask the same at the same time share one
    request. Where an event loop runs in the caller's thread, a
    call blocks it, as any other blocking call does.
    """

    def __init__(self, library: Library, inner: AsyncCachedTransport) -> None:
        self._library, self._inner, self._thread = library, inner, LoopThread()
        self._closings = 0
        """How often this was closed: a stream that was opened before has ended with its loop."""

    def handle_request(self, request: Any) -> Any:
        """Return the answer to a request. Raises the library's errors."""
        request.read()
        try:
            question = self._inner.question_in(request)
            known = None if question is None else self._inner.in_memory(question)
        except OptionsError as error:
            return refused(self._library, error)
        if known is not None:
            return known
        asked = self._inner.sent(request) if question is None else self._inner.answered(question, request)
        response = self._thread.submit(asked).result()
        if response.is_stream_consumed or response.is_closed:
            return response
        return self._library.module.Response(
            response.status_code,
            headers=response.headers,
            stream=self._library.sync_body(self._chunks(response)),
            extensions=told(response),
        )

    def _chunks(self, response: Any) -> Iterator[bytes]:
        ahead, closings = _ReadAhead(response), self._closings
        try:
            while chunks := self._thread.submit(ahead.next()).result():
                yield from chunks
        finally:
            # A stream that a program leaves open until its end, or until it closes the client, has been left already.
            # The leaving is not waited for: the collector may end this generator in any thread, the loop's among them.
            if closings == self._closings:
                with suppress(CacheError):
                    self._thread.submit(ahead.aclose(), waits=False)

    def close(self) -> None:
        """Close the connections to the provider, what was opened here, and the thread. Idempotent."""
        self._closings += 1
        self._thread.close(self._inner.aclose)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _ReadAhead:
    """The chunks of a stream, those together that are there already: a trip between threads costs more than a chunk.

    Belongs to the event loop, and to one reader at a time.
    """

    def __init__(self, response: Any) -> None:
        self._response, self._chunks = response, response.aiter_raw()
        self._begun: asyncio.Future[bytes | None] | None = None

    async def next(self) -> list[bytes]:
        """Return the next chunk, and those after it that need not be waited for; none at the end.

        Raises the stream's error once all chunks before it were returned.
        """
        found: list[bytes] = []
        while len(found) < _MOST_CHUNKS:
            step = self._begun = self._begun or asyncio.ensure_future(anext(self._chunks, None))
            if found:
                await asyncio.sleep(0)  # within this turn it comes to what it has to wait for, if there is any
                if not step.done() or step.exception() is not None:
                    break
            chunk = await step
            if chunk is None:
                break
            self._begun = None
            found.append(chunk)
        return found

    async def aclose(self) -> None:
        """Leave the stream."""
        if self._begun is not None:
            self._begun.cancel()
            await asyncio.wait([self._begun])
        await self._response.aclose()
