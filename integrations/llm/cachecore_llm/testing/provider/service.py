"""One request from arrival to answer: protocol, credentials, directives, errors, headers."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any, Final

import msgspec

from cachecore_llm.testing.provider import (
    anthropic_messages_events,
    errors,
    models,
    openai_chat_events,
    openai_embeddings,
    openai_responses_events,
)
from cachecore_llm.testing.provider.answer import answers
from cachecore_llm.testing.provider.ask import Ask
from cachecore_llm.testing.provider.calls import Call, CallLog, Outcome
from cachecore_llm.testing.provider.connection import Exchange, Headers
from cachecore_llm.testing.provider.delivery import Delivery
from cachecore_llm.testing.provider.directives import DirectiveError, Directives
from cachecore_llm.testing.provider.fields import RejectedError, Vendor
from cachecore_llm.testing.provider.fresh import Fresh
from cachecore_llm.testing.provider.protocol import Event, Protocol

PROTOCOLS: Final = {
    protocol.path: protocol
    for protocol in (
        openai_chat_events.PROTOCOL,
        openai_responses_events.PROTOCOL,
        openai_embeddings.PROTOCOL,
        anthropic_messages_events.PROTOCOL,
    )
}
HEADER: Final = "x-provider-directives"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Rules of a provider for all requests."""

    base: Directives | None
    """Directives under those of each request; None: a request's are not read."""
    api_keys: Collection[str] | None
    models: Sequence[str] | None


class Service:
    """Answers exchanges."""

    def __init__(self, rules: Rules, log: CallLog, delivery: Delivery, fresh: Any) -> None:
        self._rules = rules
        self._log = log
        self._delivery = delivery
        self._fresh = fresh
        self.queue: deque[str] = deque()
        """Directives of the next requests, one for each."""

    async def __call__(self, exchange: Exchange) -> None:
        """Answer one request."""
        fresh: Fresh = self._fresh()
        protocol = PROTOCOLS.get(exchange.path)
        if protocol is None or exchange.method != "POST":
            await self._elsewhere(exchange, protocol, fresh)
            return
        call = Call(0, protocol.name, exchange.path, exchange.headers, exchange.body)
        _decode(call, protocol)
        queued = self.queue.popleft() if self.queue else ""
        self._log.begin(call)
        outcome: Outcome = "stopped"
        try:
            outcome = await self._answer(exchange, call, protocol, queued, fresh)
        except ConnectionError:
            outcome = "abandoned"
        except asyncio.CancelledError:
            outcome = "abandoned" if exchange.abandoned else "stopped"
            raise
        finally:
            self._log.end(call, outcome)

    async def _answer(self, exchange: Exchange, call: Call, protocol: Protocol, queued: str, fresh: Fresh) -> Outcome:
        headers = _headers(protocol.vendor, fresh)
        try:
            self._admit(exchange, protocol.vendor)
            if not isinstance(call.body, dict):
                raise RejectedError(400, errors.usual_message(protocol.vendor, 400))
            ask = protocol.read(call.body, self._rules.base, f"{exchange.headers.get(HEADER, '')} {queued}")
            self._permit(ask, protocol)
            if (status := self._failing(ask, call)) is not None:
                await self._delivery.begin(ask.directives)
                return await self._refuse(exchange, call, protocol.vendor, headers, status, ask.directives, fresh)
            body = protocol.whole(ask, answers(ask), fresh)
        except DirectiveError as error:
            rejected = RejectedError(400, str(error), kind="invalid_directive" if protocol.vendor == "openai" else None)
            return await self._reject(exchange, call, protocol.vendor, headers, rejected, fresh)
        except RejectedError as error:
            return await self._reject(exchange, call, protocol.vendor, headers, error, fresh)
        except RecursionError:
            rejected = RejectedError(400, "The request body is nested too deeply.")
            return await self._reject(exchange, call, protocol.vendor, headers, rejected, fresh)
        await self._delivery.begin(ask.directives)
        odd = _instead(ask, protocol)
        if ask.stream and protocol.events is not None:
            events = protocol.events(ask, body, fresh) if odd is None else iter(odd)
            sse = [("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-cache"), *headers]
            return await self._delivery.stream(exchange, call, ask.directives, sse, events, protocol)
        headers.insert(0, ("content-type", "application/json"))
        if odd is not None:
            body = odd[0].data if protocol.vendor == "openai" else errors.body(protocol.vendor, 500, fresh.id("req_"))
        return await self._delivery.whole(exchange, call, ask.directives, headers, body)

    def _admit(self, exchange: Exchange, vendor: Vendor) -> None:
        """Raise RejectedError for a request without a good key, or in a form that the services do not take."""
        headers, keys = exchange.headers, self._rules.api_keys
        scheme, _, key = headers.get("authorization", "").partition(" ")
        key = key.strip() if scheme.lower() == "bearer" else ""
        key = headers.get("x-api-key", key) if vendor == "anthropic" else key
        if not key and vendor == "openai":
            message = (
                "You didn't provide an API key. You need to provide it in an Authorization header using Bearer auth."
            )
            raise RejectedError(401, message, kind="missing_api_key")
        if not key:
            raise RejectedError(401, "x-api-key header is required")
        if keys is not None and key not in keys:
            raise RejectedError(401, errors.usual_message(vendor, 401))
        if vendor == "anthropic" and "anthropic-version" not in headers:
            raise RejectedError(400, "anthropic-version: header is required")
        if headers.get("content-encoding", "identity") != "identity":
            raise RejectedError(
                415, f"content-encoding {headers['content-encoding']!r} is not supported: send the JSON as it is"
            )

    def _permit(self, ask: Ask, protocol: Protocol) -> None:
        """Raise RejectedError for an unknown model, or a deviation that the protocol does not have."""
        if self._rules.models is not None and ask.model not in self._rules.models:
            if protocol.vendor == "anthropic":
                raise RejectedError(404, f"model: {ask.model}")
            raise RejectedError(
                404, f"The model `{ask.model}` does not exist or you do not have access to it.", kind="model_not_found"
            )
        if strange := sorted(ask.directives.compat - protocol.deviations):
            known = ", ".join(sorted(protocol.deviations))
            raise RejectedError(400, f"[[compat {strange[0]}]] has no form in {protocol.name}; known are {known}")

    def _failing(self, ask: Ask, call: Call) -> int | None:
        """Return the status of the error that is told instead of an answer."""
        told = ask.directives
        failure = told.error
        if failure is not None:
            if failure.times is None:
                return failure.status
            equal = sum(
                1 for one in self._log.requests() if one.protocol == call.protocol and one.prompt == call.prompt
            )
            return failure.status if equal <= failure.times else None
        return 500 if told.fail is not None and not ask.stream else None

    async def _refuse(
        self,
        exchange: Exchange,
        call: Call,
        vendor: Vendor,
        headers: Headers,
        status: int,
        told: Directives,
        fresh: Fresh,
    ) -> Outcome:
        failure = told.error
        body = errors.body(vendor, status, _request_id(headers), kind=failure.kind if failure else None)
        extra = errors.retry_headers(status, failure.retry_after if failure else None)
        sent = [("content-type", "application/json"), *extra, *headers]
        return await self._delivery.whole(exchange, call, told, sent, body, status)

    async def _reject(
        self, exchange: Exchange, call: Call, vendor: Vendor, headers: Headers, error: RejectedError, fresh: Fresh
    ) -> Outcome:
        body = errors.body(
            vendor, error.status, _request_id(headers), message=error.message, param=error.param, kind=error.kind
        )
        call.status = error.status
        await exchange.respond(
            error.status, [("content-type", "application/json"), *headers], msgspec.json.encode(body)
        )
        return "error"

    async def _elsewhere(self, exchange: Exchange, protocol: Protocol | None, fresh: Fresh) -> None:
        """Answer the list of models; refuse the rest by naming the paths."""
        vendor: Vendor = "anthropic" if "anthropic-version" in exchange.headers else "openai"
        status, body = 404, None
        if exchange.method == "GET":
            body = models.answer(exchange.path, vendor, self._rules.models)
        if body is not None:
            status = 200
        elif protocol is not None:
            status = 405
        if body is None:
            known = ", ".join([*PROTOCOLS, models.PATH])
            message = f"Invalid URL ({exchange.method} {exchange.path}); known are {known}"
            body = errors.body(vendor, status, fresh.id("req_"), message=message)
        headers = [("content-type", "application/json"), *_headers(vendor, fresh)]
        await exchange.respond(status, headers, msgspec.json.encode(body))


def _decode(call: Call, protocol: Protocol) -> None:
    """Put the decoded body into `call`; none if it is no JSON, or nested too deeply to be read."""
    try:
        call.body = msgspec.json.decode(call.raw)
        if isinstance(call.body, dict):
            call.stream = call.body.get("stream") is True
            call.prompt = protocol.prompt(call.body)
    except (ValueError, RecursionError):
        call.body = None


def _instead(ask: Ask, protocol: Protocol) -> list[Event] | None:
    """Return the events that compatible servers send under status 200 when they fail."""
    if "error-object" in ask.directives.compat:
        message = "The model is not ready."
        return [
            Event(None, {"object": "error", "message": message, "type": "BadRequestError", "param": None, "code": 400})
        ]
    if "error-200" not in ask.directives.compat:
        return None
    if protocol.failure is None:
        return [Event(None, {"error": errors.openai_error(500)})]
    if protocol.vendor == "openai" and not ask.stream:
        return [Event(None, {"error": errors.openai_error(500)})]
    return protocol.failure(None, 0)


def _request_id(headers: Headers) -> str:
    return next(value for name, value in headers if name in ("request-id", "x-request-id"))


def _headers(vendor: Vendor, fresh: Fresh) -> Headers:
    """Return the headers that each answer has, with ids, limits and a cookie of one call."""
    date = ("date", formatdate(fresh.seconds, usegmt=True))
    cookie = ("set-cookie", f"__cf_bm={fresh.id('', 32)}; path=/; HttpOnly")
    if vendor == "openai":
        limits: Mapping[str, str] = {"limit-requests": "500", "remaining-requests": "499", "reset-requests": "120ms"}
        return [
            date,
            ("x-request-id", fresh.id("req_", 32)),
            ("openai-organization", "local"),
            ("openai-version", "2020-10-01"),
            ("openai-processing-ms", "1"),
            *((f"x-ratelimit-{name}", value) for name, value in limits.items()),
            cookie,
        ]
    limits = {
        "requests-limit": "50",
        "requests-remaining": "49",
        "requests-reset": formatdate(fresh.seconds, usegmt=True),
    }
    return [
        date,
        ("request-id", fresh.id("req_01", 22)),
        ("anthropic-organization-id", "00000000-0000-4000-8000-000000000000"),
        *((f"anthropic-ratelimit-{name}", value) for name, value in limits.items()),
        cookie,
    ]
