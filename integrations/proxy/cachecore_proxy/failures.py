"""Failures as answers: a provider's error as it came, everything else in the form of the caller's protocol."""

from __future__ import annotations

from typing import Final, NamedTuple

import httpx2

from cachecore.contract.errors import CacheError, OptionsError
from cachecore_llm.errors import (
    NotCachedError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    UnsupportedRequestError,
    UnusableAnswerError,
)
from cachecore_llm.http.answer_headers import cache_status
from cachecore_llm.http.failures import HTTPFailure
from cachecore_llm.key import RefusedFieldError
from cachecore_proxy.asking import AccessError
from cachecore_proxy.clients import BodyError
from cachecore_proxy.provider import HOP_BY_HOP
from cachecore_proxy.replies import error_body, error_headers
from cachecore_proxy.settings import Family
from cachecore_proxy.slots import OverloadError
from cachecore_proxy.trips import Pairs

_PACKING: Final = HOP_BY_HOP | {"content-encoding"}


class Reply(NamedTuple):
    """An answer."""

    status: int
    headers: Pairs
    body: bytes


def reply_to(error: BaseException, family: Family) -> Reply:
    """Return the answer that stands for `error`. Its text names no value of a request, and no provider's message."""
    if isinstance(error, UnusableAnswerError) and isinstance(error.came, HTTPFailure):
        error = error.came
    if isinstance(error, HTTPFailure):
        return _as_it_came(error)
    if isinstance(error, NotCachedError):
        return _own(family, 504, str(error), "not_cached")
    if isinstance(error, AccessError):
        return _own(family, error.status, error.message, error.kind)
    if isinstance(error, BodyError):
        reply = _own(family, error.status, error.message)
        return Reply(reply.status, [*reply.headers, (b"connection", b"close")], reply.body)
    if isinstance(error, OverloadError):
        return Reply(503, error_headers(retry_after=1.0), error_body(family, 503, str(error)))
    if isinstance(error, ProviderUnavailableError):
        retry_in = max(1.0, error.retry_in)
        return Reply(503, error_headers(retry_after=retry_in), error_body(family, 503, str(error)))
    if isinstance(error, ProviderTimeoutError):
        return _own(family, 504, str(error), "timeout_error")
    if isinstance(error, TimeoutError | httpx2.TimeoutException):
        return _own(family, 504, "the answer took too long", "timeout_error")
    if isinstance(error, httpx2.TransportError):
        return _own(family, 502, f"the provider cannot be reached ({type(error).__name__})")
    if isinstance(error, UnsupportedRequestError):
        return _own(family, 401, "no provider of this gateway takes this key", "authentication_error")
    if isinstance(error, OptionsError | RefusedFieldError):
        return _own(family, 400, str(error))
    if isinstance(error, UnusableAnswerError):
        return _own(family, 502, str(error))
    word = "the cache" if isinstance(error, CacheError) else "the gateway"
    return _own(family, 502, f"{word} could not answer ({type(error).__name__})")


def _own(family: Family, status: int, message: str, kind: str | None = None) -> Reply:
    return Reply(status, error_headers(detail=kind), error_body(family, status, message, kind))


def _as_it_came(failure: HTTPFailure) -> Reply:
    headers = [
        (name.encode("latin-1"), value.encode("latin-1"))
        for name, value in failure.headers.items()
        if name not in _PACKING and value.isprintable()
    ]
    told = cache_status(forward="miss", forward_status=failure.status_code)
    return Reply(failure.status_code, [*headers, (b"cache-status", told.encode())], failure.body)
