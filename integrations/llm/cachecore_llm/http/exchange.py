"""Which HTTP requests of an SDK are calls to a model, and which call each one is. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

from cachecore_llm.http.scope import Scope
from cachecore_llm.upstream.headers import is_credential
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


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """An HTTP request that is a call to a model."""

    call: Call

    @property
    def streams(self) -> bool:
        """Whether the caller wants a stream."""
        return self.call.body.get("stream") is True

    @cached_property
    def facts(self) -> RequestFacts:
        """The facts of the body. Raises UnreadableRequestError."""
        return PROTOCOLS[self.call.protocol].parse(self.call.body)


class Address(NamedTuple):
    """Where a call goes."""

    protocol: ProtocolName
    endpoint: str
    """Without credentials; the order of its parameters does not count."""
    credentials: tuple[tuple[str, str], ...]
    """Parameters of the address that are credentials; they are no part of the endpoint."""


@lru_cache(maxsize=256)
def address_of(method: str, url: str) -> Address | None:
    """Return where a request goes, if it is a call to a model. `method` is in upper case, `url` absolute."""
    if method != "POST":
        return None
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    protocol = next((protocol for end, protocol in _ROUTES if path.endswith(end)), None)
    if protocol is None:
        return None
    query = parse_qsl(parts.query, keep_blank_values=True)
    credentials = tuple((name, value) for name, value in query if is_credential(name.lower()))
    return Address(protocol, shown_url(url), credentials)


def exchange_of(
    address: Address,
    shaping: Mapping[str, str],
    body: bytes,
    *,
    asker: Scope | None = None,
    tenant: str | None = None,
) -> Exchange | None:
    """Return the call that a request is; None if its body is no JSON object: send it on as it is.

    Args:
        address: where it goes.
        shaping: its headers that shape the answer, with names in lower case.
        body: as the caller made it.
        asker: the scope and the credential of the call.
        tenant: of the call.
    """
    try:
        content = load(body)
    except UnreadableStreamError:
        return None
    call = Call(
        protocol=address.protocol,
        endpoint=address.endpoint,
        body=content,
        headers=shaping,
        scope=asker and asker.scope,
        credential=asker and asker.credential,
        tenant=tenant,
    )
    return Exchange(call=call)


def is_readable(exchange: Exchange) -> bool:
    """Return whether the body has the form of its protocol."""
    try:
        return exchange.facts is not None
    except UnreadableRequestError:
        return False


def shown_url(url: str) -> str:
    """Return an address without the credentials in it, its parameters in order."""
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    return _endpoint(parts.scheme, parts.hostname or "", parts.port, parts.path, query)


def _endpoint(scheme: str, host: str, port: int | None, path: str, query: Iterable[tuple[str, str]]) -> str:
    shown = sorted((name, value) for name, value in query if not is_credential(name.lower()))
    place = f"[{host}]" if ":" in host else host
    default = {"http": 80, "https": 443}.get(scheme)
    address = f"{scheme}://{place}" + (f":{port}" if port not in (None, default) else "") + path.rstrip("/")
    return f"{address}?{urlencode(shown)}" if shown else address
