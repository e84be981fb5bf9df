"""Headers of an answer: those of the provider that are kept, and what the cache says of itself (RFC 9211, RFC 9111)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

KEPT: Final = frozenset({"content-type", "openai-model", "openai-version", "request-id", "x-request-id"})
"""Headers of a provider's answer that are true of it for ever. All others tell of one exchange: limits that are left,
the time, the customer, how the bytes were packed."""

PACKING: Final = frozenset({"connection", "content-encoding", "content-length", "keep-alive", "transfer-encoding"})
"""Headers of how a body travelled, which is unpacked here and has another length."""
_PACKING_BYTES: Final = frozenset(name.encode() for name in PACKING)

NO_RETRY: Final = {"x-should-retry": "false"}
"""A header that both SDKs heed: an error of the cache's own is not asked for three times."""

Forward = Literal["bypass", "miss", "partial", "stale", "request"]


def kept(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of a provider's answer that are stored with it. Names are in lower case."""
    return {name: value for name, value in headers.items() if name in KEPT}


def as_sent(module: Any, response: Any, own: Mapping[str, str] | None = None) -> Any:
    """Return the headers of a response byte for byte, less those of its packing, and ours. `module`: its library."""
    sent = [pair for pair in response.headers.raw if pair[0].lower() not in _PACKING_BYTES]
    return module.Headers([*sent, *((name.encode(), value.encode()) for name, value in (own or {}).items())])


def encoded(module: Any, headers: Mapping[str, str]) -> Any:
    """Return headers that were read as text: a provider's need not be ASCII, which a library's own encoding is."""
    return module.Headers(headers, encoding="utf-8")


def cache_status(
    *,
    hit: bool = False,
    ttl: float | None = None,
    forward: Forward | None = None,
    forward_status: int | None = None,
    stored: bool = False,
    collapsed: bool = False,
    key: str | None = None,
    detail: str | None = None,
) -> str:
    """Return the value of `Cache-Status`.

    Args:
        hit: the answer came from the cache.
        ttl: seconds that the answer stays fresh; below 0 if it is stale.
        forward: why the provider was asked.
        forward_status: the HTTP status that it answered with.
        stored: the answer was stored.
        collapsed: the answer is that of a call which another caller had begun.
        key: the digest under which the answer lies.
        detail: a word of our own, of letters and `_`.
    """
    words = ["cachecore"]
    if hit:
        words.append("hit")
    if forward is not None:
        words.append(f"fwd={forward}")
    if forward_status is not None:
        words.append(f"fwd-status={forward_status}")
    if ttl is not None:
        words.append(f"ttl={int(ttl // 1)}")
    if stored:
        words.append("stored")
    if collapsed:
        words.append("collapsed")
    if key is not None:
        words.append(f'key="{key}"')
    if detail is not None:
        words.append(f"detail={detail}")
    return "; ".join(words)


def age(seconds: float) -> str:
    """Return the value of `Age`: whole seconds, 0 or more."""
    return str(max(0, int(seconds)))
