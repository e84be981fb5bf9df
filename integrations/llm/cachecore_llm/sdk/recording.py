"""HTTP transports for tests: answers are recorded once, and then come from a file, without a network."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal, NoReturn, Self

from cachecore_llm.http.answer_headers import as_sent, encoded
from cachecore_llm.http.exchange import Exchange
from cachecore_llm.sdk.cassette import Answered, Cassette, Request, answered_of
from cachecore_llm.sdk.libraries import Library
from cachecore_llm.sdk.upstream import AsyncUpstream, Upstream
from cachecore_llm.wire import PROTOCOLS, EventDecoder, JsonObject
from cachecore_llm.wire.objects import UnreadableStreamError, dump

Mode = Literal["record", "replay"]


class MissingAnswer(BaseException):
    """A request has no recorded answer. The text says which field differs from the nearest one.

    No `Exception`, so that no SDK asks three times for it or hides it in an error of its own.
    """


class Recorder:
    """What both transports share: finds answers in a cassette, and keeps those that are not there."""

    def __init__(self, cassette: Cassette, mode: Mode) -> None:
        self.cassette, self.mode = cassette, mode

    def found(self, request: Request) -> Answered | None:
        """Return the recorded answer; None if the provider is to be asked. Raises MissingAnswer."""
        answered = self.cassette.find(request)
        if answered is None and self.mode == "replay":
            self._missing(request)
        return answered

    def _missing(self, request: Request) -> NoReturn:
        raise MissingAnswer(self.cassette.missing(request))

    def stream_of(self, request: Request, response: Any) -> StreamRecorder | None:
        """Return the recorder of `response`, if it is a stream of events."""
        exchange, kind = request.exchange, response.headers.get("content-type", "")
        if exchange is None or not exchange.facts.stream or response.status_code >= 400 or "event-stream" not in kind:
            return None
        return StreamRecorder(self, request, exchange, response)


class StreamRecorder:
    """Takes the bytes of one stream, and keeps its events once it has ended well."""

    def __init__(self, recorder: Recorder, request: Request, exchange: Exchange, response: Any) -> None:
        self._recorder, self._request = recorder, request
        self._headers = dict(response.headers)
        self._protocol = PROTOCOLS[exchange.call.protocol]
        self._assembly = self._protocol.assembly(exchange.facts)
        self._decoder = EventDecoder()
        self._events: list[JsonObject] | None = []

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes. A stream that cannot be read is passed on and not kept."""
        if self._events is None:
            return
        try:
            for sent in self._decoder.feed(chunk):
                if self._protocol.is_end(sent):
                    self._assembly.end()  # the caller may leave right after this mark
                event = self._protocol.event_of(sent)
                if event is not None:
                    neutral = self._protocol.neutral(event)
                    self._assembly.feed(neutral)
                    self._events.append(neutral)
        except UnreadableStreamError:
            self._events = None

    def end(self) -> None:
        """Take note that all bytes have come."""
        self._assembly.end()

    def close(self) -> None:
        """Keep the answer, if it is complete."""
        if self._events is not None and self._assembly.recording().complete:
            answered = Answered(status=200, headers=answered_of(200, self._headers, b"", self._request).headers)
            self._recorder.cassette.add(self._request, _with_events(answered, self._events))


class AsyncRecordingTransport:
    """Answers from a cassette; in the mode `record`, what is not there is asked for and kept."""

    def __init__(self, library: Library, recorder: Recorder, upstream: AsyncUpstream) -> None:
        self._library, self._recorder, self._upstream = library, recorder, upstream

    async def handle_async_request(self, request: Any) -> Any:
        """Return the answer to a request. Raises MissingAnswer, and the library's errors while recording."""
        body = await request.aread()
        asked = Request(request.method, str(request.url), dict(request.headers), body)
        answered = self._recorder.found(asked)
        if answered is not None:
            return respond(self._library, answered, asked)
        response = await self._upstream.send(request)
        headers = as_sent(self._library.module, response)
        stream = self._recorder.stream_of(asked, response)
        if stream is not None:
            chunks = _recorded(response, stream)
            return self._library.module.Response(
                response.status_code,
                headers=headers,
                stream=self._library.async_body(chunks),
            )
        data = await response.aread()
        self._recorder.cassette.add(asked, answered_of(response.status_code, dict(response.headers), data, asked))
        return self._library.module.Response(response.status_code, headers=headers, content=data)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._upstream.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class RecordingTransport:
    """As `AsyncRecordingTransport`, for threads."""

    def __init__(self, library: Library, recorder: Recorder, upstream: Upstream) -> None:
        self._library, self._recorder, self._upstream = library, recorder, upstream

    def handle_request(self, request: Any) -> Any:
        """Return the answer to a request. Raises MissingAnswer, and the library's errors while recording."""
        body = request.read()
        asked = Request(request.method, str(request.url), dict(request.headers), body)
        answered = self._recorder.found(asked)
        if answered is not None:
            return respond(self._library, answered, asked)
        response = self._upstream.send(request)
        headers = as_sent(self._library.module, response)
        stream = self._recorder.stream_of(asked, response)
        if stream is not None:
            chunks = _recorded_in_thread(response, stream)
            return self._library.module.Response(
                response.status_code,
                headers=headers,
                stream=self._library.sync_body(chunks),
            )
        data = response.read()
        self._recorder.cassette.add(asked, answered_of(response.status_code, dict(response.headers), data, asked))
        return self._library.module.Response(response.status_code, headers=headers, content=data)

    def close(self) -> None:
        """Close the connections."""
        self._upstream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def respond(library: Library, answered: Answered, request: Request) -> Any:
    """Return a recorded answer as a response of the library."""
    headers = encoded(library.module, answered.headers)
    if answered.events is not None and request.exchange is not None:
        protocol = PROTOCOLS[request.exchange.call.protocol]
        content = b"".join([*map(protocol.frame, answered.events), protocol.end_frame])
    elif answered.body is not None:
        content = dump(answered.body)
    else:
        content = (answered.text or "").encode(errors="surrogatepass")
    return library.module.Response(answered.status, headers=headers, content=content)


def _with_events(answered: Answered, events: list[JsonObject]) -> Answered:
    return Answered(status=answered.status, headers=answered.headers, events=events)


async def _recorded(response: Any, stream: StreamRecorder) -> AsyncIterator[bytes]:
    try:
        async for chunk in response.aiter_bytes():
            stream.feed(chunk)
            yield chunk
        stream.end()
    finally:
        stream.close()
        await response.aclose()


def _recorded_in_thread(response: Any, stream: StreamRecorder) -> Iterator[bytes]:
    try:
        for chunk in response.iter_bytes():
            stream.feed(chunk)
            yield chunk
        stream.end()
    finally:
        stream.close()
        response.close()
