"""Which HTTP requests of an SDK are calls to a model, and which call each one is. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from cachecore_llm.upstream.headers import is_credential, shaping
from cachecore_llm.wire import PROTOCOLS
from cachecore_llm.wire.call import Call, ProtocolName, RequestFacts, UnreadableRequestError
from cachecore_llm.wire.objects import UnreadableStreamError, load

_ROUTES: Final[tuple[tuple[str, ProtocolName], ...]] = (
    ("/chat/completions", "openai.chat"),
    ("/embeddings", "openai.embeddings"),
    ("/v1/responses", "openai.responses"),
    ("/openai/responses", "openai.responses"),  # Azure
    ("/v1/messages", "anthropic.messages"),
)
"""How the paths of calls end. `/messages` and `/responses` end other paths too (threads, stored responses)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """An HTTP request that is a call to a model."""

    call: Call
    """Its scope is not set: that is made of `credentials` and of the headers."""
    facts: RequestFacts
    credentials: tuple[tuple[str, str], ...]
    """Parameters of the address that are credentials; they are no part of the call's endpoint."""


def exchange_of(
    method: str, url: str, headers: Mapping[str, str], body: bytes, *, tenant: str | None = None
) -> Exchange | None:
    """Return the call that an HTTP request is; None if it is none, or cannot be read: send it on as it is.

    Args:
        method: in upper case.
        url: absolute.
        headers: with names in lower case.
        body: as the caller made it; read, never changed.
        tenant: of the call.
    """
    if method != "POST":
        return None
    parts = urlsplit(url)
    protocol = _protocol(parts.path)
    if protocol is None:
        return None
    try:
        content = load(body)
        facts = PROTOCOLS[protocol].parse(content)
    except (UnreadableStreamError, UnreadableRequestError):
        return None
    query = parse_qsl(parts.query, keep_blank_values=True)
    credentials = tuple((name, value) for name, value in query if is_credential(name.lower()))
    call = Call(
        protocol=protocol,
        endpoint=_endpoint(parts.scheme, parts.hostname or "", parts.port, parts.path, query),
        body=content,
        headers=shaping(headers),
        tenant=tenant,
    )
    return Exchange(call=call, facts=facts, credentials=credentials)


def shown_url(url: str) -> str:
    """Return an address without the credentials in it."""
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    return _endpoint(parts.scheme, parts.hostname or "", parts.port, parts.path, query)


def _protocol(path: str) -> ProtocolName | None:
    path = path.rstrip("/")
    return next((protocol for end, protocol in _ROUTES if path.endswith(end)), None)


def _endpoint(scheme: str, host: str, port: int | None, path: str, query: Iterable[tuple[str, str]]) -> str:
    """Return the address without credentials; the order of its parameters does not count."""
    shown = sorted((name, value) for name, value in query if not is_credential(name.lower()))
    place = f"[{host}]" if ":" in host else host
    default = {"http": 80, "https": 443}.get(scheme)
    address = f"{scheme}://{place}" + (f":{port}" if port not in (None, default) else "") + path.rstrip("/")
    return f"{address}?{urlencode(shown)}" if shown else address
