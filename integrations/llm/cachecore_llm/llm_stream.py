"""A streamed answer, as applications see it: pieces of text, or events, or the whole at the end."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any, Self

from cachecore_llm.errors import UnusableAnswerError
from cachecore_llm.flow import AnswerStream
from cachecore_llm.flow.responses import response_in
from cachecore_llm.response import FROM_CACHE, CacheStatus, LLMResponse
from cachecore_llm.wire import PROTOCOLS, Call, JsonObject
from cachecore_llm.wire.event_text import text_in


class LLMStream:
    """One answer, for one reader: `async for piece in stream`; then `await stream.response()`.

    Nothing is asked before the first piece is. Leaving the loop early, `aclose`, or the end of an `async with` block
    leaves the stream: callers that share it go on. Belongs to the event loop that reads it.
    """

    def __init__(self, stream: AnswerStream, call: Call, before: Callable[[], Awaitable[None]] | None = None) -> None:
        self._stream = stream
        self._protocol = PROTOCOLS[call.protocol]
        self._assembly = self._protocol.assembly(stream.facts)
        self._ended = False
        self._left = False
        self._before = before  # to be done before the first piece
        self._error: Exception | None = None

    @property
    def cache_status(self) -> CacheStatus | None:
        """How the answer came; None before the first piece."""
        return self._stream.status

    @property
    def provider(self) -> str | None:
        """The name of the provider that answers; None before the first piece."""
        return self._stream.provider

    def __aiter__(self) -> AsyncIterator[str]:
        return self._pieces()

    async def _pieces(self) -> AsyncGenerator[str, None]:
        async for event in self._events():
            text = text_in(self._protocol.name, event)
            if text:
                yield text

    def events(self) -> AsyncIterator[JsonObject]:
        """Return the events as the provider sends them, instead of pieces of text."""
        return self._events()

    async def _events(self) -> AsyncGenerator[JsonObject, None]:
        before, self._before = self._before, None
        try:
            if before is not None:
                await before()
            async for event in self._stream:
                self._assembly.feed(_own(event))
                yield event
        except Exception as error:
            self._error = error
            raise
        if not self._ended and not self._left and self._error is None:
            self._ended = True
            self._assembly.end()

    async def response(self) -> LLMResponse:
        """Return the whole answer; reads the rest of the stream first.

        Raises the errors of reading it, also earlier ones; UnusableAnswerError if the stream was left before its end.
        """
        async for _ in self._events():
            pass
        if self._error is not None:
            raise self._error
        if not self._ended:
            raise UnusableAnswerError(self._stream.provider or "", "the stream was left before its end")
        stream, body = self._stream, self._assembly.recording().body or {}
        status = stream.status or "miss"
        way: dict[str, Any] = {"similarity": stream.similarity, "matched_message": stream.matched_message}
        return response_in(
            self._protocol.name,
            body,
            provider=stream.provider or "",
            fallback=stream.fallback,
            latency=stream.latency or 0.0,
            cached=status in FROM_CACHE,
            cache_status=status,
            age=stream.age,
            **way,
        )

    async def aclose(self) -> None:
        """Leave the stream. Idempotent."""
        self._left = True
        await self._stream.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def _own(value: Any) -> Any:
    """Return a copy of a JSON value: the caller may change its own."""
    if isinstance(value, dict):
        return {name: _own(inner) for name, inner in value.items()}
    return [_own(inner) for inner in value] if isinstance(value, list) else value
