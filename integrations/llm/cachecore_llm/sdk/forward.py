"""One caller's request on its way to the provider: its bytes as they came, its answer as the flow takes it."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Mapping
from typing import Any
from urllib.parse import urlsplit

from cachecore_llm.http.answer_headers import kept
from cachecore_llm.http.event_stream import decoded, drained
from cachecore_llm.http.exchange import Exchange
from cachecore_llm.http.failures import HTTPFailure, UnreadableAnswer
from cachecore_llm.http.sent_body import Refusal, encoded, streamed_body
from cachecore_llm.sdk.libraries import Library
from cachecore_llm.sdk.upstream import AsyncUpstream
from cachecore_llm.upstream import Sent
from cachecore_llm.upstream.stream_options import StreamOptions
from cachecore_llm.wire import OPENAI_EMBEDDINGS, PROTOCOLS, Call, JsonObject, UnreadableRequestError
from cachecore_llm.wire.objects import UnreadableStreamError, load


class Forward:
    """Sends one request of an SDK to the provider.

    The flow decides whether it is sent at all. It is sent without the caller's read timeout, because others may wait
    for the same answer for longer; the caller's own wait is bounded where it waits.
    """

    def __init__(
        self, library: Library, upstream: AsyncUpstream, request: Any, exchange: Exchange, options: StreamOptions
    ) -> None:
        self._library, self._upstream, self._request = library, upstream, request
        self._exchange, self._options = exchange, options
        self._protocol = PROTOCOLS[exchange.call.protocol]
        self.asked = False
        """Whether a stream of the provider's was asked for; if not, this caller gets another caller's."""
        self.response: Any = None
        """What the provider answered to this very request; None if it was not asked."""
        self.body: bytes | None = None
        """The bytes of a whole answer."""

    async def whole(self, call: Call) -> Sent:
        """Return the provider's whole answer. Raises HTTPFailure, UnreadableAnswer and the library's errors."""
        started = time.perf_counter()
        response = await self._upstream.send(self._copy(self._whole_body(call)))
        try:
            body = await response.aread()
        finally:
            await response.aclose()
        headers = _lower(response.headers)
        content = _read(response, headers, body)
        if call.protocol == "openai.embeddings" and not _answers_all(content, call):
            raise UnreadableAnswer(response.status_code, headers, body)
        self.response, self.body = response, body
        return Sent(
            body=content,
            provider=urlsplit(call.endpoint).hostname or "",
            fallback=False,
            latency=time.perf_counter() - started,
            headers=kept(headers),
        )

    async def events(self, call: Call) -> AsyncGenerator[JsonObject, None]:
        """Yield the events of the provider's stream. Raises what `whole` raises."""
        del call  # it is read from the request, whose bytes are sent
        self.asked = True
        response = await self._begin()
        try:
            if "event-stream" not in response.headers.get("content-type", ""):
                body = await response.aread()
                for event in self._protocol.events_of(_read(response, _lower(response.headers), body)):
                    yield event
                return
            self.response = response
            chunks = response.aiter_bytes()
            async for event in decoded(self._protocol, chunks):
                yield event
            await drained(chunks)
        finally:
            await response.aclose()

    async def _begin(self) -> Any:
        """Return the answer that begins, asked for with the stream options that the endpoint takes."""
        while True:
            response = await self._upstream.send(self._copy(self._streamed_body()))
            if response.status_code < 400:
                return response
            body = await response.aread()
            await response.aclose()
            failure = HTTPFailure(response.status_code, _lower(response.headers), body)
            if not self._options.refused(Refusal(response.status_code, body)):
                raise failure

    def _whole_body(self, call: Call) -> bytes | None:
        """Return None for the caller's own bytes, or the body if the flow asks for a part of what they ask for."""
        return None if call is self._exchange.call else encoded(call.body)

    def _streamed_body(self) -> bytes | None:
        """Return the caller's bytes with the options of the stream that this endpoint takes; None if they have them."""
        own = bytes(self._request.content)
        body = streamed_body(own, self._exchange.call.body, self._options)
        return None if body is own else body

    def _copy(self, body: bytes | None) -> Any:
        """Return the caller's request without its read timeout, with another `body` if one is given."""
        request = self._request
        timeouts = request.extensions.get("timeout")
        extensions = dict(request.extensions)
        if isinstance(timeouts, dict):
            extensions["timeout"] = {**timeouts, "read": None}
        made = self._library.module.Request
        if body is None:  # with its stream, which was read: headers and body are not taken apart and put together again
            same = made(
                request.method, request.url, headers=request.headers, stream=request.stream, extensions=extensions
            )
            same.read()
            return same
        headers = [(name, value) for name, value in request.headers.raw if name.lower() != b"content-length"]
        return made(request.method, request.url, headers=headers, content=body, extensions=extensions)


def _read(response: Any, headers: Mapping[str, str], body: bytes) -> JsonObject:
    """Return the body of an answer whose headers have names in lower case. Raises HTTPFailure and UnreadableAnswer."""
    if response.status_code >= 400:
        raise HTTPFailure(response.status_code, headers, body)
    try:
        return load(body)
    except UnreadableStreamError:
        raise UnreadableAnswer(response.status_code, headers, body) from None


def _answers_all(body: JsonObject, call: Call) -> bool:
    """Whether there is a vector for each input; also true of a request that cannot be read, which is passed by."""
    try:
        inputs = OPENAI_EMBEDDINGS.parse(call.body).n
    except UnreadableRequestError:
        return True
    try:
        OPENAI_EMBEDDINGS.answers_of(body, inputs)
    except ValueError:
        return False
    return True


def _lower(headers: Any) -> Mapping[str, str]:
    return {name.lower(): value for name, value in headers.items()}
