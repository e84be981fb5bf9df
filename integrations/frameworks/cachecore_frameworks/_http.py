"""The HTTP of a cached response: which is stored, the headers that it gets, and when 304 answers a request."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

_PASSING: Final = ("no-store", "private", "no-cache")
"""Directives of a response's own `Cache-Control` with which it is not stored."""
_OF_304: Final = ("etag", "cache-control", "vary", "age", "date", "expires", "content-location", "cache-status")


def personal(headers: Mapping[str, str]) -> bool:
    """Return whether a request says who makes it."""
    return "authorization" in headers or "cookie" in headers


def may_be_stored(status: int, headers: Mapping[str, str]) -> bool:
    """Return whether a whole response is for other callers too."""
    control = headers.get("cache-control", "").lower()
    return status == 200 and "set-cookie" not in headers and not any(directive in control for directive in _PASSING)


def headers_of_answer(body: bytes, *, ttl: float, vary: Sequence[str], private: bool) -> dict[str, str]:
    """Return the headers that a stored response has unless it has them already; `ttl` is the `max-age` in seconds."""
    headers = {
        # Weak: a middleware may compress the body.
        "etag": f'W/"{hashlib.sha256(body).hexdigest()[:32]}"',
        "cache-control": f"{'private' if private else 'public'}, max-age={int(ttl)}",
    }
    return {**headers, "vary": ", ".join(vary)} if vary else headers


def headers_of_304(if_none_match: str, headers: Mapping[str, str]) -> dict[str, str] | None:
    """Return the headers of the 304 that stands for a response; None: the client does not have it."""
    tag = headers.get("etag")
    wanted = {one.strip().removeprefix("W/") for one in if_none_match.split(",")}
    if tag is None or not {tag.removeprefix("W/"), "*"} & wanted:
        return None
    return {name: headers[name] for name in _OF_304 if name in headers}
