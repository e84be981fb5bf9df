"""What a request of an SDK asks of the cache: a call with its scope and controls, or to pass it by."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from cachecore.contract.errors import OptionsError
from cachecore_llm.http.exchange import Address, Exchange, address_of, exchange_of, is_readable
from cachecore_llm.http.scope import Scope, ScopeFunction, scope_of
from cachecore_llm.policy.controls import DEFAULT, Controls
from cachecore_llm.policy.tenants import tenant_of
from cachecore_llm.upstream.headers import shaping
from cachecore_llm.upstream.stream_options import StreamOptions

_MOST_SENDERS: Final = 64
_MOST_ENDPOINTS: Final = 256

RawHeaders = Iterable[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A request of an SDK that the flow is asked."""

    exchange: Exchange
    controls: Controls
    options: StreamOptions
    """The options of the endpoint; shared by all requests to it."""


@dataclass(frozen=True, slots=True)
class _Sender:
    """What the headers of a request say: an SDK sends the same ones with nearly every request."""

    shaping: dict[str, str]
    scope: Scope
    controls: Controls


class Front:
    """Reads the requests of one client.

    Args:
        tenant: whose requests they are; tenants never share answers.
        scope: the name of all who may share answers, in place of each credential; or a function that gives it from
            the headers of a request.
        digest_key: of the digests of credentials, at most 64 bytes; the same in all processes that share answers.
    """

    def __init__(
        self, *, tenant: str | None = None, scope: str | ScopeFunction | None = None, digest_key: bytes = b""
    ) -> None:
        given: object = scope
        if given is not None and not callable(given) and (not isinstance(given, str) or not given):
            raise OptionsError(
                f"a scope must be text and not empty, or a function of the headers, not {given!r}; "
                "leave it out to keep credentials apart"
            )
        self._tenant, self._scope, self._key = tenant_of(tenant), scope, digest_key
        self._senders: dict[object, _Sender] = {}
        self._options: dict[str, StreamOptions] = {}

    def read(self, method: str, url: str, headers: RawHeaders, body: bytes) -> Question | None:
        """Return what a request asks of the cache; None if it is to be sent on as it is.

        Raises:
            RotatingCredentialError: the request's credential is renewed by itself, and no scope is given.
        """
        address = address_of(method, url)
        if address is None:
            return None
        sender = self._sender(address, headers)
        exchange = exchange_of(address, sender.shaping, body, asker=sender.scope, tenant=self._tenant)
        if exchange is None or (exchange.streams and not is_readable(exchange)):
            return None
        options = self._options.get(address.endpoint)
        if options is None:
            if len(self._options) >= _MOST_ENDPOINTS:
                self._options.clear()
            options = self._options[address.endpoint] = StreamOptions(address.protocol)
        return Question(exchange=exchange, controls=sender.controls, options=options)

    def _sender(self, address: Address, raw: RawHeaders) -> _Sender:
        known = address.credentials, tuple(pair for pair in raw if pair[0].lower() not in _OF_ONE_REQUEST)
        sender = self._senders.get(known)
        if sender is None:
            headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in known[1]}
            directives = headers.get("cache-control")
            sender = _Sender(
                shaping(headers),
                scope_of(headers, address.credentials, given=self._scope, key=self._key),
                DEFAULT if directives is None else Controls.from_cache_control(directives),
            )
            if len(self._senders) >= _MOST_SENDERS:
                self._senders.clear()
            self._senders[known] = sender
        return sender


_OF_ONE_REQUEST: Final = frozenset({b"content-length", b"x-stainless-retry-count", b"x-stainless-read-timeout"})
"""Headers that differ from request to request and say nothing that is asked here."""
