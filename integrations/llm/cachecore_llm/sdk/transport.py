"""The transport under an SDK's asynchronous client: calls to models go through the flow, all else passes through."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any, Self, TypeVar

from cachecore.contract.errors import OptionsError
from cachecore_llm.errors import NotCachedError
from cachecore_llm.flow import Flow
from cachecore_llm.flow.heartbeats import HEARTBEAT_SECONDS, HeartbeatStream
from cachecore_llm.http.failures import HTTPFailure
from cachecore_llm.http.told import headers_of
from cachecore_llm.response_cache import ResponseCache
from cachecore_llm.sdk import answers
from cachecore_llm.sdk.forward import Forward
from cachecore_llm.sdk.frames import Frames
from cachecore_llm.sdk.front import Front, Question
from cachecore_llm.sdk.libraries import Library
from cachecore_llm.sdk.upstream import AsyncUpstream
from cachecore_llm.wire import PROTOCOLS

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
        heartbeat: float | None = HEARTBEAT_SECONDS,
    ) -> None:
        """Ask `flow`. `opened`: the cache under it, if it is to be closed with this. `heartbeat`: seconds, or none."""
        self._library, self._flow, self._front, self._upstream, self._opened = library, flow, front, upstream, opened
        self._heartbeat = heartbeat

    async def handle_async_request(self, request: Any) -> Any:
        """Return the answer to a request. Raises the library's errors."""
        await request.aread()
        try:
            question = self.question_in(request)
        except OptionsError as error:
            return answers.refused(self._library, error)
        if question is None:
            return await self.sent(request)
        return await self.answered(question, request)

    async def sent(self, request: Any) -> Any:
        """Return the provider's answer to a request that the cache is not asked. Raises the library's errors."""
        return await self._upstream.send(request)

    def question_in(self, request: Any) -> Question | None:
        """Return what a request, whose body was read, asks of the cache; None if it is to be sent on as it is.

        Raises:
            RotatingCredentialError: its credential is renewed by itself, and no scope is given.
        """
        return self._front.read(request.method, str(request.url), request.headers.raw, request.content)

    def in_memory(self, question: Question) -> Any:
        """Return the answer to `question` that is in this process's memory, or None. Any thread may call.

        Raises OptionsError as the flow does.
        """
        call = question.exchange.call
        if question.exchange.streams or call.protocol == "openai.embeddings":
            return None
        began = time.perf_counter()
        answer = self._flow.in_memory(call, question.controls)
        if answer is None:
            return None
        response = answers.whole(self._library, answer)
        response.elapsed = timedelta(seconds=time.perf_counter() - began)
        return response

    async def answered(self, question: Question, request: Any) -> Any:
        """Return the answer to a request that asks `question`. Raises the library's errors."""
        began = time.perf_counter()
        response = await self._answered(question, request)
        if response.is_stream_consumed:  # of a stream the library tells when it has ended
            response.elapsed = timedelta(seconds=time.perf_counter() - began)
        return response

    async def _answered(self, question: Question, request: Any) -> Any:
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
        inputs = question.exchange.facts.n if batch.bypass != "unreadable" else 0  # the provider says more of those
        return answers.batch(self._library, batch, inputs, forward)

    async def _streamed(self, question: Question, forward: Forward, request: Any) -> Any:
        stream = self._flow.stream(question.exchange.call, forward.events, question.controls)
        events = HeartbeatStream(stream, every=self._heartbeat, limit=_read_timeout(request))
        frames = Frames(self._library, PROTOCOLS[question.exchange.call.protocol], events, request)
        try:
            await frames.begin(forward)
        except BaseException:
            await frames.aclose()
            raise
        return answers.stream(self._library, stream, forward, self._library.async_body(frames))

    async def _within(self, request: Any, waited: Awaitable[T]) -> T:
        """Return what is waited for within the caller's read timeout; the flight goes on for those who wait longer."""
        limit = _read_timeout(request)
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


def _read_timeout(request: Any) -> float | None:
    """Return the seconds that the caller waits for the next bytes of an answer; None for as long as it takes."""
    timeouts = request.extensions.get("timeout")
    return timeouts.get("read") if isinstance(timeouts, dict) else None
