"""Answers that the gateway makes: errors in the form of the caller's protocol, and headers that tell of the cache."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from cachecore_llm.flow import Answer, AnswerStream, StoredAnswer
from cachecore_llm.http.answer_headers import cache_status
from cachecore_llm.http.told import headers_of, status_headers
from cachecore_proxy.settings import Family
from cachecore_proxy.trips import Pairs, Trip

JSON: Final = (b"content-type", b"application/json")
EVENTS: Final = (b"content-type", b"text/event-stream; charset=utf-8")
_NO_RETRY: Final = (b"x-should-retry", b"false")
_KINDS: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    501: "invalid_request_error",
    503: "overloaded_error",
}


def error_body(family: Family, status: int, message: str, kind: str | None = None) -> bytes:
    """Return the body of an error in the form of `family`."""
    kind = kind or _KINDS.get(status, "api_error")
    if family == "anthropic":
        told: object = {"type": "error", "error": {"type": kind, "message": f"cachecore: {message}"}}
    else:
        told = {"error": {"message": f"cachecore: {message}", "type": kind, "param": None, "code": kind}}
    return json.dumps(told).encode()


def error_headers(*, detail: str | None = None, retry_after: float | None = None) -> Pairs:
    """Return the headers of an error of the gateway. It is worth another try only after `retry_after` seconds."""
    headers = [JSON, (b"cache-status", cache_status(detail=detail).encode())]
    if retry_after is None:
        headers.append(_NO_RETRY)
    else:
        headers.append((b"retry-after", b"%d" % max(1, round(retry_after))))
    return headers


def stored_headers(stored: StoredAnswer, *, streams: bool) -> Pairs:
    """Return the headers of a stored answer that are the same for all its callers."""
    kept = _pairs(dict(stored.headers), "content-type")
    return [EVENTS, (b"cache-control", b"no-store"), *kept] if streams else [JSON, *kept]


def whole_headers(answer: Answer, trip: Trip) -> Pairs:
    """Return the headers of a whole answer that came from the cache, or from another caller's request."""
    return [*stored_headers(answer.stored, streams=False), *_pairs(told_of(answer, trip))]


def told_of(answer: Answer, trip: Trip) -> dict[str, str]:
    """Return `Cache-Status` and `Age` of a whole answer."""
    told = headers_of(answer)
    if answer.rescued:
        told["cache-status"] = _rescued(answer.key, answer.fresh_for, trip)
    return told


def stream_headers(stream: AnswerStream, trip: Trip, reason: str | None) -> Pairs:
    """Return the headers of a stream."""
    told = status_headers(
        stream.status or "miss",
        age_seconds=stream.age,
        fresh_for=stream.fresh_for,
        key=stream.key,
        stored=False,
        reason=reason,
    )
    if stream.rescued:
        told["cache-status"] = _rescued(stream.key, stream.fresh_for, trip)
    if trip.headers is not None and stream.status in ("miss", "bypass"):
        return [*trip.headers, *_pairs(told)]
    return [EVENTS, (b"cache-control", b"no-store"), *_pairs(dict(stream.headers), "content-type"), *_pairs(told)]


def _rescued(key: str, fresh_for: float | None, trip: Trip) -> str:
    digest = key.rpartition(":")[2].rpartition("}")[2] or None
    status = trip.failed_status if trip.asked else None
    return cache_status(forward="stale", forward_status=status, ttl=fresh_for, key=digest)


def _pairs(headers: Mapping[str, str], *left_out: str) -> Pairs:
    """Return headers as bytes, less those that no server could have sent: stored bytes may be of another program."""
    return [
        (name.encode("latin-1"), value.encode("latin-1"))
        for name, value in headers.items()
        if name not in left_out and name.isascii() and name.isprintable() and _is_sound(value)
    ]


def _is_sound(value: str) -> bool:
    return value.isascii() and value.isprintable()
