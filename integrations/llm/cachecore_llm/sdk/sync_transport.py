"""The transport under an SDK's client for threads: the asynchronous one, on a thread with an event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Self

from cachecore import LoopThread, OptionsError
from cachecore_llm.sdk.answers import refused, told
from cachecore_llm.sdk.libraries import Library
from cachecore_llm.sdk.transport import AsyncCachedTransport


class CachedTransport:
    """A transport of `httpx2` or `httpx` for threads that answers calls to models from a cache.

    An answer in memory is given in the caller's own thread. Threads that ask the same at the same time share one
    request. Where an event loop runs in the caller's thread, a
    call blocks it, as any other blocking call does.
    """

    def __init__(self, library: Library, inner: AsyncCachedTransport) -> None:
        self._library, self._inner, self._thread = library, inner, LoopThread()

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
        chunks = response.aiter_raw()
        try:
            while (chunk := self._thread.submit(_next(chunks)).result()) is not None:
                yield chunk
        finally:
            self._thread.submit(response.aclose()).result()

    def close(self) -> None:
        """Close the connections to the provider, what was opened here, and the thread. Idempotent."""
        self._thread.close(self._inner.aclose)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


async def _next(chunks: AsyncIterator[bytes]) -> bytes | None:
    return await anext(chunks, None)
