"""Responses of an HTTP library made of what the flow returns, with the headers that say where it came from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from cachecore_llm.errors import NotCachedError
from cachecore_llm.flow import Answer, AnswerStream
from cachecore_llm.flow.batch import Batch
from cachecore_llm.http.answer_headers import NO_RETRY, cache_status
from cachecore_llm.http.failures import HTTPFailure
from cachecore_llm.http.told import batch_status, headers_of, status_headers
from cachecore_llm.sdk.libraries import Library
from cachecore_llm.wire import RequestFacts
from cachecore_llm.wire.objects import dump

_PACKING: Final = ("connection", "content-encoding", "content-length", "keep-alive", "transfer-encoding")
"""Headers of how a body travelled, which is unpacked here and has another length."""


def stream_headers(stream: AnswerStream, response: Any) -> dict[str, str]:
    """Return the headers of a stream. `response`: what the provider answered to this very request, or None."""
    own = status_headers(
        stream.status or "miss",
        age_seconds=stream.age,
        fresh_for=stream.fresh_for,
        key=stream.key,
        stored=False,
        reason=None,
    )
    if response is None:
        return {"content-type": "text/event-stream; charset=utf-8", **own}
    return {**{name: value for name, value in response.headers.items() if name.lower() not in _PACKING}, **own}


def batch(library: Library, made: Batch, request: RequestFacts, forward: Any) -> Any:
    """Return the answers to many inputs as one. Its usage is what was billed now."""
    told = batch_status(made, request.n)
    headers = {"content-type": "application/json", "cache-status": told}
    if forward.body is not None and forward.response is not None and len(made.computed) == request.n:
        return as_it_came(library, forward.response, forward.body, {"cache-status": told})
    return library.module.Response(200, headers=headers, content=dump(made.body))


def whole(library: Library, answer: Answer) -> Any:
    """Return an answer that came from the cache, or from another caller's request."""
    headers = {**dict(answer.stored.headers), "content-type": "application/json", **headers_of(answer)}
    body = answer.stored.body if answer.facts is None or not answer.facts.echoed else dump(answer.body())
    return library.module.Response(200, headers=headers, content=body)


def as_it_came(library: Library, response: Any, body: bytes, own: Mapping[str, str]) -> Any:
    """Return the provider's own answer to this very request, with headers of ours beside its own."""
    headers = [(name, value) for name, value in response.headers.multi_items() if name.lower() not in _PACKING]
    return library.module.Response(response.status_code, headers=[*headers, *own.items()], content=body)


def failed(library: Library, failure: HTTPFailure) -> Any:
    """Return what the provider answered in place of an answer, as it came."""
    headers = {name: value for name, value in failure.headers.items() if name not in _PACKING}
    headers["cache-status"] = cache_status(forward="miss", forward_status=failure.status_code)
    return library.module.Response(failure.status_code, headers=headers, content=failure.body)


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
