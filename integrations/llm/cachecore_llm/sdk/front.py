"""What a request of an SDK asks of the cache: a call with its scope and controls, or to pass it by."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from cachecore.contract.errors import OptionsError
from cachecore_llm.key import Bypass, RefusedFieldError, key_of
from cachecore_llm.policy.controls import DEFAULT, Controls
from cachecore_llm.sdk.exchange import Address, Exchange, address_of, exchange_of, is_readable
from cachecore_llm.sdk.scope import ScopeFunction, credential_scope
from cachecore_llm.upstream.headers import shaping
from cachecore_llm.upstream.stream_options import StreamOptions
from cachecore_llm.wire import UnreadableRequestError

_MOST_SENDERS: Final = 64

RawHeaders = Iterable[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A request of an SDK that the flow is asked."""

    exchange: Exchange
    controls: Controls
    options: StreamOptions
    """What the endpoint takes; shared by all requests to it."""


@dataclass(frozen=True, slots=True)
class _Sender:
    """What the headers of a request say: an SDK sends the same ones with nearly every request."""

    headers: dict[str, str]
    shaping: dict[str, str]
    scope: str
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
        if isinstance(scope, str) and not scope:
            raise OptionsError("a scope must be text and not empty; leave it out to keep credentials apart")
        self._tenant, self._scope, self._key = tenant, scope, digest_key
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
        exchange = exchange_of(address, sender.shaping, body, scope=sender.scope, tenant=self._tenant)
        if exchange is None or (exchange.streams and not is_readable(exchange)):
            return None
        if self._scope is not None and _names_objects(exchange):
            scope = self._scope_of(address, sender.headers, keep_credential=True)
            exchange = exchange_of(address, sender.shaping, body, scope=scope, tenant=self._tenant) or exchange
        options = self._options.get(address.endpoint)
        if options is None:
            options = self._options[address.endpoint] = StreamOptions(address.protocol)
        return Question(exchange=exchange, controls=sender.controls, options=options)

    def _sender(self, address: Address, raw: RawHeaders) -> _Sender:
        known = address.credentials, tuple(pair for pair in raw if pair[0].lower() not in _OF_ONE_REQUEST)
        sender = self._senders.get(known)
        if sender is None:
            headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in known[1]}
            directives = headers.get("cache-control")
            sender = _Sender(
                headers,
                shaping(headers),
                self._scope_of(address, headers),
                DEFAULT if directives is None else Controls.from_cache_control(directives),
            )
            if len(self._senders) >= _MOST_SENDERS:
                self._senders.clear()
            self._senders[known] = sender
        return sender

    def _scope_of(self, address: Address, headers: dict[str, str], *, keep_credential: bool = False) -> str:
        return credential_scope(
            headers, address.credentials, given=self._scope, keep_credential=keep_credential, key=self._key
        )


_OF_ONE_REQUEST: Final = frozenset({b"content-length", b"x-stainless-retry-count", b"x-stainless-read-timeout"})
"""Headers that differ from request to request and say nothing that is asked here."""


def _names_objects(exchange: Exchange) -> bool:
    """Return whether a request names what the provider keeps for one customer, such as a file."""
    try:
        keyed = key_of(exchange.call, exchange.facts)
    except (RefusedFieldError, UnreadableRequestError):
        return True
    return not isinstance(keyed, Bypass) and bool(keyed.objects)
