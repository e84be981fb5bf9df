"""One provider over HTTP: a caller's bytes as they came, its answer as the flow takes it and as the caller gets it."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Mapping
from typing import Final

import httpx2

from cachecore_llm.errors import UnsupportedRequestError, UnusableAnswerError
from cachecore_llm.http.answer_headers import KEPT
from cachecore_llm.http.event_stream import decoded, drained
from cachecore_llm.http.failures import HTTPFailure, UnreadableAnswer
from cachecore_llm.http.sent_body import Refusal, encoded, streamed_body
from cachecore_llm.upstream.answers import facts_of
from cachecore_llm.upstream.stream_options import StreamOptions
from cachecore_llm.wire import PROTOCOLS, AnswerFacts, Call, JsonObject, ProtocolName
from cachecore_llm.wire.objects import UnreadableStreamError, load
from cachecore_proxy.activity import Activity
from cachecore_proxy.asking import Sender
from cachecore_proxy.judged_keys import JudgedKeys
from cachecore_proxy.settings import Family, UpstreamSettings
from cachecore_proxy.trips import GatewayCall, Pairs, Trip

HOP_BY_HOP: Final = frozenset(
    {
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer"),
        *("transfer-encoding", "upgrade", "content-length", "date"),
    }
)
"""Headers of one connection (RFC 9110, 7.6.1), and length and date, which each side writes by itself."""

_PACKED: Final = HOP_BY_HOP | {"content-encoding"}
"""The same where the body is unpacked."""
_KEPT_NAMES: Final = {name.encode(): name for name in KEPT}
_HOP_BYTES: Final = frozenset(name.encode() for name in HOP_BY_HOP)
_PACKED_BYTES: Final = frozenset(name.encode() for name in _PACKED)

_SPEAKS: Final[dict[Family, frozenset[ProtocolName]]] = {
    "openai": frozenset({"openai.chat", "openai.responses", "openai.embeddings"}),
    "anthropic": frozenset({"anthropic.messages"}),
}
_TIMEOUT: Final = {"connect": 5.0, "pool": 5.0, "write": 60.0, "read": None}
"""Seconds. Deadlines for answers are the orchestrator's: others may wait for the same one."""


class HttpProvider:
    """A `WireProvider` that sends the bytes of callers. Takes calls of the class `GatewayCall`."""

    careful = True
    """Whether it checks its answers itself, and ends as soon as it is cancelled."""
    model: str | None = None
    scope: str | None = None
    shaping: Mapping[str, str] = {}

    def __init__(
        self,
        settings: UpstreamSettings,
        family: Family,
        *,
        forwards: bool,
        transport: httpx2.AsyncBaseTransport,
        keys: JudgedKeys,
        activity: Activity,
        max_answer_bytes: int,
    ) -> None:
        """Ask the provider of `settings`. `forwards`: whether callers' own keys are sent to it."""
        self.settings, self.family, self.forwards = settings, family, forwards
        self.name, self.endpoint = settings.name, settings.base
        self.speaks = _SPEAKS[family]
        self._transport, self._keys, self._activity, self._max_bytes = transport, keys, activity, max_answer_bytes
        self._options: dict[str, StreamOptions] = {}
        self._urls: dict[str, httpx2.URL] = {}
        """The addresses of calls without a query, parsed; there are as many as routes."""

    async def send(self, call: Call) -> JsonObject:
        """Return the answer's body.

        Raises:
            HTTPFailure: the provider answered with an error.
            UnusableAnswerError: it answered with something that is no answer of the protocol.
        """
        trip, began = _trip(call), time.perf_counter()
        failed = True
        try:
            body = trip.raw if call.body is trip.content else encoded(call.body)
            response = await self._begin(trip, body)
            try:
                content = await self._whole(response)
            finally:
                await response.aclose()
            answer, trip.facts = self._read(call, response, content)
            trip.status, trip.headers, trip.body = response.status_code, unpacked_headers(response), content
            trip.answer = answer
            trip.kept = _kept(response)
            failed = False
            return answer
        except Exception as error:
            trip.failed_status = status_of_failure(error)
            raise
        finally:
            self._activity.called(self.name, time.perf_counter() - began, failed=failed)

    async def stream(self, call: Call) -> AsyncGenerator[JsonObject, None]:
        """Yield the events of the answer. Raises as `send` does."""
        trip, began = _trip(call), time.perf_counter()
        protocol, failed = PROTOCOLS[call.protocol], True
        try:
            response = await self._begin_stream(trip, call)
            try:
                if "event-stream" not in response.headers.get("content-type", ""):
                    answer, _ = self._read(call, response, await self._whole(response))
                    for event in protocol.events_of(answer):
                        yield event
                    failed = False
                    return
                trip.status, trip.headers = response.status_code, unpacked_headers(response)
                trip.kept = _kept(response)
                chunks = response.aiter_bytes()
                async for event in decoded(protocol, chunks):
                    yield event
                failed = False
                await drained(chunks)
            finally:
                await response.aclose()
        except Exception as error:
            trip.failed_status = status_of_failure(error)
            raise
        finally:
            self._activity.called(self.name, time.perf_counter() - began, failed=failed)

    async def _begin(self, trip: Trip, body: bytes) -> httpx2.Response:
        """Return the answer that begins. Raises httpx2.TransportError."""
        trip.asked = True
        url = self._url(trip)
        own = {**trip.sender.shaping, **self.credentials(trip.sender, known=trip.known)}
        # All of them, so that httpx2 need not look for those that are missing: half of what a request takes.
        headers = [
            (b"host", url.netloc),
            (b"content-type", b"application/json"),
            (b"accept", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            *[(name.encode("latin-1"), value.encode("latin-1")) for name, value in own.items()],
        ]
        request = httpx2.Request(
            "POST", url, headers=headers, stream=httpx2.ByteStream(body), extensions={"timeout": _TIMEOUT}
        )
        request.read()
        return await self.pass_on(request, trip.sender)

    def _url(self, trip: Trip) -> httpx2.URL:
        if trip.query:
            return httpx2.URL(self.address(trip.path, trip.query))
        url = self._urls.get(trip.path)
        if url is None:
            url = self._urls[trip.path] = httpx2.URL(self.address(trip.path, ""))
        return url

    async def _begin_stream(self, trip: Trip, call: Call) -> httpx2.Response:
        """Return the answer that begins, asked for with the stream options that the endpoint takes."""
        options = self._options.get(call.protocol)
        if options is None:
            options = self._options[call.protocol] = StreamOptions(call.protocol)
        body = trip.raw if call.body is trip.content else encoded(call.body)
        while True:
            response = await self._begin(trip, streamed_body(body, call.body, options))
            if response.status_code < 400:
                return response
            try:
                content = await self._whole(response)
            finally:
                await response.aclose()
            if not options.refused(Refusal(response.status_code, content)):
                raise HTTPFailure(response.status_code, _lower(response), content)

    async def pass_on(self, request: httpx2.Request, sender: Sender) -> httpx2.Response:
        """Return the answer that begins, and record its judgement of the key. Raises httpx2.TransportError."""
        response = await self._transport.handle_async_request(request)
        try:
            await self._judge(sender, response.status_code)
        except BaseException:
            await response.aclose()
            raise
        return response

    async def _judge(self, sender: Sender, status: int) -> None:
        """Record the judgement of a caller's own key that a status is."""
        if sender.digest is None or not self.forwards:
            return
        if status in (401, 403):
            await self._keys.refused(self.family, sender.digest)
        elif 200 <= status < 300:
            entry = sender.entry if sender.family == self.family else None
            await self._keys.succeeded(self.family, sender.digest, entry)

    def credentials(self, sender: Sender, *, known: bool) -> Mapping[str, str]:
        """Return the headers by which this provider knows the caller.

        Raises UnsupportedRequestError if it is not to be asked: a caller's key is for one provider, and the gateway's
        own credential is for callers that are known.
        """
        if sender.forwarded and self.forwards:
            return sender.credentials
        if self.settings.credential is None or (sender.forwarded and not known):
            raise UnsupportedRequestError(f"{self.name} has no credential for this caller")
        header = self.settings.credential_header
        if header is None:
            header = "x-api-key" if self.family == "anthropic" else "authorization"
        bearer = "Bearer " if header == "authorization" else ""
        return {header: bearer + self.settings.credential}

    def address(self, path: str, query: str) -> str:
        """Return the address of a path, which begins with `/v1`, at this provider."""
        return f"{self.settings.base}{path}?{query}" if query else self.settings.base + path

    async def _whole(self, response: httpx2.Response) -> bytes:
        chunks: list[bytes] = []
        size = 0
        packed = any(name == b"content-encoding" for name, _ in _pairs(response))
        async for chunk in response.aiter_bytes() if packed else _plain(response):
            chunks.append(chunk)
            size += len(chunk)
            if size > self._max_bytes:
                raise UnusableAnswerError(self.name, f"it answered with more than {self._max_bytes} bytes")
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _read(self, call: Call, response: httpx2.Response, content: bytes) -> tuple[JsonObject, AnswerFacts | None]:
        if response.status_code >= 300:
            raise HTTPFailure(response.status_code, _lower(response), content)
        try:
            answer = load(content)
        except UnreadableStreamError:
            raise UnreadableAnswer(response.status_code, _lower(response), content) from None
        try:
            return answer, facts_of(self.name, call.protocol, answer)
        except UnusableAnswerError as error:
            error.came = HTTPFailure(response.status_code, _lower(response), content)
            raise


def unpacked_headers(response: httpx2.Response) -> Pairs:
    """Return the headers of an answer for a body that is unpacked."""
    return _passed(response, _PACKED_BYTES)


def raw_headers(response: httpx2.Response) -> Pairs:
    """Return the headers of an answer for a body that is passed on as it is."""
    return _passed(response, _HOP_BYTES)


def status_of_failure(error: BaseException) -> int:
    """Return the HTTP status that stands for a failure of a provider."""
    status = getattr(error, "status_code", None)
    if isinstance(status, int) and status >= 300:
        return status
    return 504 if isinstance(error, TimeoutError | httpx2.TimeoutException) else 502


async def raw_body(response: httpx2.Response) -> AsyncIterator[bytes]:
    """Yield the body of an answer as it came, packed or not."""
    async for chunk in response.aiter_raw():
        yield chunk


def _passed(response: httpx2.Response, left_out: frozenset[bytes]) -> Pairs:
    pairs = _pairs(response)
    named = {one.strip().lower() for name, value in pairs if name == b"connection" for one in value.split(b",")}
    return [pair for pair in pairs if pair[0] not in left_out and pair[0] not in named]


def _plain(response: httpx2.Response) -> AsyncIterable[bytes]:
    """Return the body of an answer that is not packed, past httpx2's decoders."""
    if not isinstance(response.stream, AsyncIterable):
        raise TypeError("an answer of an asynchronous transport is an asynchronous stream")
    return response.stream


def _pairs(response: httpx2.Response) -> Pairs:
    """Return the headers of an answer as bytes, names in lower case: httpx2's look-ups take longer than its parser."""
    return [(name.lower(), value) for name, value in response.headers.raw]


def _kept(response: httpx2.Response) -> dict[str, str]:
    """Return the headers of an answer that are stored with it."""
    found: dict[str, str] = {}
    for name, value in _pairs(response):
        known = _KEPT_NAMES.get(name)
        if known is not None:
            text = value.decode("latin-1")
            found[known] = f"{found[known]}, {text}" if known in found else text
    return found


def _lower(response: httpx2.Response) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


def _trip(call: Call) -> Trip:
    if not isinstance(call, GatewayCall):
        raise TypeError(f"a call of the gateway has a trip, and a {type(call).__name__} has none")
    return call.trip
