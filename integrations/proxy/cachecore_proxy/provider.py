"""One provider over HTTP: a caller's bytes as they came, its answer as the flow takes it and as the caller gets it."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Final

import httpx2

from cachecore_llm.errors import UnsupportedRequestError, UnusableAnswerError
from cachecore_llm.http.answer_headers import kept
from cachecore_llm.http.event_stream import decoded, drained
from cachecore_llm.http.failures import HTTPFailure, UnreadableAnswer
from cachecore_llm.http.sent_body import Refusal, encoded, streamed_body
from cachecore_llm.upstream.answers import checked
from cachecore_llm.upstream.stream_options import StreamOptions
from cachecore_llm.wire import PROTOCOLS, Call, JsonObject, ProtocolName
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

_SPEAKS: Final[dict[Family, frozenset[ProtocolName]]] = {
    "openai": frozenset({"openai.chat", "openai.responses", "openai.embeddings"}),
    "anthropic": frozenset({"anthropic.messages"}),
}
_TIMEOUT: Final = {"connect": 5.0, "pool": 5.0, "write": 60.0, "read": None}
"""Seconds. Deadlines for answers are the orchestrator's: others may wait for the same one."""


class HttpProvider:
    """A `WireProvider` that sends the bytes of callers. Takes calls of the class `GatewayCall`."""

    model: str | None = None
    scope: str | None = None
    shaping: Mapping[str, str] = {}

    def __init__(
        self,
        settings: UpstreamSettings,
        family: Family,
        *,
        forwards: bool,
        client: httpx2.AsyncClient,
        keys: JudgedKeys,
        activity: Activity,
        max_answer_bytes: int,
    ) -> None:
        """Ask the provider of `settings`. `forwards`: whether callers' own keys are sent to it."""
        self.settings, self.family, self.forwards = settings, family, forwards
        self.name, self.endpoint = settings.name, settings.base
        self.speaks = _SPEAKS[family]
        self._client, self._keys, self._activity, self._max_bytes = client, keys, activity, max_answer_bytes
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
            answer = self._read(call, response, content)
            trip.status, trip.headers, trip.body = response.status_code, unpacked_headers(response), content
            trip.kept = kept(_lower(response))
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
                    for event in protocol.events_of(self._read(call, response, await self._whole(response))):
                        yield event
                    failed = False
                    return
                trip.status, trip.headers = response.status_code, unpacked_headers(response)
                trip.kept = kept(_lower(response))
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
        headers = [("content-type", "application/json"), ("accept", "application/json"), *trip.sender.shaping.items()]
        headers += self.credentials(trip.sender, known=trip.known).items()
        # Made by hand: the client's own way would add the cookies of other callers.
        request = httpx2.Request(
            "POST", self._url(trip), headers=headers, content=body, extensions={"timeout": _TIMEOUT}
        )
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
        response = await self._client.send(request, stream=True)
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
            await self._keys.succeeded(self.family, sender.digest)

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
        content = bytearray()
        async for chunk in response.aiter_bytes():
            content += chunk
            if len(content) > self._max_bytes:
                raise UnusableAnswerError(self.name, f"it answered with more than {self._max_bytes} bytes")
        return bytes(content)

    def _read(self, call: Call, response: httpx2.Response, content: bytes) -> JsonObject:
        if response.status_code >= 300:
            raise HTTPFailure(response.status_code, _lower(response), content)
        try:
            answer = load(content)
        except UnreadableStreamError:
            raise UnreadableAnswer(response.status_code, _lower(response), content) from None
        try:
            return checked(self.name, call.protocol, answer)
        except UnusableAnswerError as error:
            error.came = HTTPFailure(response.status_code, _lower(response), content)
            raise


def client_of() -> httpx2.AsyncClient:
    """Return a client for one provider. It keeps no cookies: they would be of one caller and go out with another's."""
    limits = httpx2.Limits(max_connections=5_000, max_keepalive_connections=200)
    client = httpx2.AsyncClient(timeout=None, limits=limits, follow_redirects=False)
    client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    # The policy would have each answer's cookies parsed first, which takes longer than the answer's head.
    client.cookies.extract_cookies = _no_cookies  # type: ignore[method-assign]  # of this client alone
    return client


def _no_cookies(response: httpx2.Response) -> None:
    """Take no cookie of an answer."""


def unpacked_headers(response: httpx2.Response) -> Pairs:
    """Return the headers of an answer for a body that is unpacked."""
    return _passed(response, _PACKED)


def raw_headers(response: httpx2.Response) -> Pairs:
    """Return the headers of an answer for a body that is passed on as it is."""
    return _passed(response, HOP_BY_HOP)


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


def _passed(response: httpx2.Response, left_out: frozenset[str]) -> Pairs:
    named = {one.strip().lower() for one in response.headers.get("connection", "").split(",")}
    passed: Pairs = []
    for name, value in response.headers.raw:
        lowered = name.lower()
        text = lowered.decode("latin-1")
        if text not in left_out and text not in named:
            passed.append((lowered, value))
    return passed


def _lower(response: httpx2.Response) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


def _trip(call: Call) -> Trip:
    if not isinstance(call, GatewayCall):
        raise TypeError(f"a call of the gateway has a trip, and a {type(call).__name__} has none")
    return call.trip
