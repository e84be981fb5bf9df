"""Responses of an HTTP library made of what the flow returns, with the headers that say where it came from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from cachecore_llm.errors import NotCachedError
from cachecore_llm.flow import Answer, AnswerStream
from cachecore_llm.flow.batch import Batch
from cachecore_llm.http.answer_headers import NO_RETRY, PACKING, as_sent, cache_status, encoded
from cachecore_llm.http.failures import HTTPFailure
from cachecore_llm.http.told import batch_headers, headers_of, status_headers
from cachecore_llm.sdk.forward import Forward
from cachecore_llm.sdk.libraries import Library
from cachecore_llm.wire.objects import dump

_TOLD: Final = frozenset({"http_version", "reason_phrase"})
"""The kept extensions of a response; the others are its connection."""


def stream(library: Library, events: AnswerStream, forward: Forward, body: Any) -> Any:
    """Return a stream of the bytes `body` that begins, with an event or with a heartbeat."""
    response = forward.response
    own = status_headers(
        events.status or ("miss" if forward.asked else "joined"),
        age_seconds=events.age,
        fresh_for=events.fresh_for,
        key=events.key,
        stored=False,
        reason=None,
    )
    if response is None:
        headers = {"content-type": "text/event-stream; charset=utf-8", **own}
        return library.module.Response(200, headers=headers, stream=body)
    headers = as_sent(library.module, response, own)
    return library.module.Response(200, headers=headers, stream=body, extensions=told(response))


def batch(library: Library, made: Batch, inputs: int, forward: Any) -> Any:
    """Return the answers to so many inputs as one. Its usage is what was billed now."""
    own = batch_headers(made, inputs)
    if forward.body is not None and forward.response is not None and len(made.computed) == inputs:
        return as_it_came(library, forward.response, forward.body, own)
    headers = {"content-type": "application/json", **own}
    return library.module.Response(200, headers=headers, content=dump(made.body))


def whole(library: Library, answer: Answer) -> Any:
    """Return an answer that came from the cache, or from another caller's request."""
    body = answer.stored.body if answer.facts is None or not answer.facts.echoed else dump(answer.body())
    headers = {**dict(answer.stored.headers), "content-type": "application/json", **headers_of(answer)}
    headers["content-length"] = str(len(body))  # the library adds it at twice the price
    return library.module.Response(200, headers=encoded(library.module, headers), content=body)


def as_it_came(library: Library, response: Any, body: bytes, own: Mapping[str, str]) -> Any:
    """Return the provider's own answer to this very request, with headers of ours beside its own.

    It is the response itself, which no other caller has, with what is true of an unpacked body of length `body`.
    """
    response.headers = as_sent(library.module, response, {**own, "content-length": str(len(body))})
    response.extensions = told(response)
    response.stream = library.module.ByteStream(body)  # the body of both kinds of client
    return response


def told(response: Any) -> dict[str, Any]:
    """Return what a response says of itself beside its headers: the version of HTTP and the phrase of its status."""
    return {name: value for name, value in response.extensions.items() if name in _TOLD}


def failed(library: Library, failure: HTTPFailure) -> Any:
    """Return the provider's error, as it came."""
    headers = {name: value for name, value in failure.headers.items() if name not in PACKING}
    headers["cache-status"] = cache_status(forward="miss", forward_status=failure.status_code)
    return library.module.Response(failure.status_code, headers=encoded(library.module, headers), content=failure.body)


def not_cached(library: Library, error: NotCachedError) -> Any:
    """Return the 504 of RFC 9111 for `only-if-cached`."""
    return _own(library, 504, "not_cached", str(error))


def refused(library: Library, error: Exception) -> Any:
    """Return an error of our own about the request. It is not worth a second try."""
    return _own(library, 400, "cachecore_refused", str(error))


def _own(library: Library, status: int, kind: str, message: str) -> Any:
    body = {"error": {"message": f"cachecore: {message}", "type": kind, "code": kind, "param": None}}
    headers = {"content-type": "application/json", "cache-status": cache_status(detail=kind), **NO_RETRY}
    return library.module.Response(status, headers=headers, content=json.dumps(body).encode())
