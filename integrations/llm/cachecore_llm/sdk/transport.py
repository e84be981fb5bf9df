"""The transport under an SDK's asynchronous client: calls to models go through the flow, all else passes through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any, Self, TypeVar

from cachecore.contract.errors import OptionsError
from cachecore_llm.errors import NotCachedError
from cachecore_llm.flow import AnswerStream, Flow
from cachecore_llm.http.failures import HTTPFailure
from cachecore_llm.http.told import headers_of
from cachecore_llm.response_cache import ResponseCache
from cachecore_llm.sdk import answers
from cachecore_llm.sdk.forward import Forward
from cachecore_llm.sdk.front import Front, Question
from cachecore_llm.sdk.libraries import Library
from cachecore_llm.sdk.upstream import AsyncUpstream
from cachecore_llm.wire import PROTOCOLS, JsonObject

T = TypeVar("T")


class AsyncCachedTransport:
    """An asynchronous transport of `httpx2` or `httpx` that answers calls to models from a cache.

    Errors of the store are never the caller's; what the provider answers reaches the caller as it came.
    """

    def __init__(
        self,
        library: Library,
        flow: Flow,
        front: Front,
        upstream: AsyncUpstream,
        opened: ResponseCache | None = None,
    ) -> None:
        """Ask `flow`. `opened`: the cache under it, if it is to be closed with this."""
        self._library, self._flow, self._front, self._upstream, self._opened = library, flow, front, upstream, opened

    async def handle_async_request(self, request: Any) -> Any:
        """Return the answer to a request. Raises the library's errors."""
        body = await request.aread()
        try:
            question = self._front.read(request.method, str(request.url), request.headers.raw, body)
        except OptionsError as error:
            return answers.refused(self._library, error)
        if question is None:
            return await self._upstream.send(request)
        forward = Forward(self._library, self._upstream, request, question.exchange, question.options)
        try:
            if question.exchange.streams:
                return await self._streamed(question, forward, request)
            return await self._whole(question, forward, request)
        except HTTPFailure as failure:
            return answers.failed(self._library, failure)
        except NotCachedError as error:
            return answers.not_cached(self._library, error)
        except OptionsError as error:
            return answers.refused(self._library, error)

    async def _whole(self, question: Question, forward: Forward, request: Any) -> Any:
        call = question.exchange.call
        if call.protocol == "openai.embeddings":
            return await self._embedded(question, forward, request)
        answer = await self._within(request, self._flow.answer(call, forward.whole, question.controls))
        if forward.response is not None and forward.body is not None and answer.status in ("miss", "bypass"):
            return answers.as_it_came(self._library, forward.response, forward.body, headers_of(answer))
        return answers.whole(self._library, answer)

    async def _embedded(self, question: Question, forward: Forward, request: Any) -> Any:
        call = question.exchange.call
        batch = await self._within(request, self._flow.answer_many(call, forward.whole, question.controls))
        return answers.batch(self._library, batch, question.exchange.facts, forward)

    async def _streamed(self, question: Question, forward: Forward, request: Any) -> Any:
        stream = self._flow.stream(question.exchange.call, forward.events, question.controls)
        try:
            first = await self._within(request, anext(stream, None))
        except BaseException:
            await stream.aclose()
            raise
        frames = self._frames(stream, first, question, request)
        headers = answers.stream_headers(stream, forward.response)
        return self._library.module.Response(200, headers=headers, stream=self._library.async_body(frames))

    async def _frames(
        self, stream: AnswerStream, first: JsonObject | None, question: Question, request: Any
    ) -> AsyncIterator[bytes]:
        """Yield the bytes of a stream. A stream that breaks ends as a connection that breaks, never as a whole one."""
        protocol, event = PROTOCOLS[question.exchange.call.protocol], first
        try:
            while event is not None:
                yield protocol.frame(event)
                event = await self._within(request, anext(stream, None))
        except Exception as error:
            if isinstance(error, self._library.module.TransportError):
                raise
            raise self._library.module.RemoteProtocolError(
                f"the provider's stream ended before its answer ({type(error).__name__})", request=request
            ) from error
        finally:
            await stream.aclose()
        if protocol.end_frame:
            yield protocol.end_frame

    async def _within(self, request: Any, waited: Awaitable[T]) -> T:
        """Return what is waited for within the caller's read timeout; the flight goes on for those who wait longer."""
        timeouts = request.extensions.get("timeout")
        limit = timeouts.get("read") if isinstance(timeouts, dict) else None
        if limit is None:
            return await waited
        bound = asyncio.timeout(limit)
        try:
            async with bound:
                return await waited
        except TimeoutError as error:
            if not bound.expired():
                raise
            raise self._library.module.ReadTimeout("the answer took too long", request=request) from error

    async def aclose(self) -> None:
        """Close the connections to the provider, and the cache if it was opened with this."""
        await self._upstream.aclose()
        if self._opened is not None:
            await self._opened.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
