"""What a request of an SDK asks of the cache: a call with its scope and controls, or to pass it by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from cachecore.contract.errors import OptionsError
from cachecore_llm.key import Bypass, RefusedFieldError, key_of
from cachecore_llm.policy.controls import DEFAULT, Controls
from cachecore_llm.sdk.exchange import Exchange, exchange_of
from cachecore_llm.sdk.scope import ScopeFunction, credential_scope
from cachecore_llm.upstream.stream_options import StreamOptions
from cachecore_llm.wire import UnreadableRequestError


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A request of an SDK that the flow is asked."""

    exchange: Exchange
    controls: Controls
    options: StreamOptions
    """What the endpoint takes; shared by all requests to it."""


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
        self._options: dict[tuple[str, str], StreamOptions] = {}

    def read(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Question | None:
        """Return what a request asks of the cache; None if it is to be sent on as it is.

        Raises:
            RotatingCredentialError: the request's credential is renewed by itself, and no scope is given.
        """
        exchange = exchange_of(method, url, headers, body, tenant=self._tenant)
        if exchange is None:
            return None
        scope = credential_scope(
            headers,
            exchange.credentials,
            given=self._scope,
            keep_credential=self._scope is not None and _names_objects(exchange),
            key=self._key,
        )
        directives = headers.get("cache-control")
        return Question(
            exchange=replace(exchange, call=replace(exchange.call, scope=scope)),
            controls=DEFAULT if directives is None else Controls.from_cache_control(directives),
            options=self._options_of(exchange),
        )

    def _options_of(self, exchange: Exchange) -> StreamOptions:
        place = exchange.call.protocol, exchange.call.endpoint
        found = self._options.get(place)
        if found is None:
            found = self._options[place] = StreamOptions(exchange.call.protocol)
        return found


def _names_objects(exchange: Exchange) -> bool:
    """Return whether a request names what the provider keeps for one customer, such as a file."""
    try:
        keyed = key_of(exchange.call, exchange.facts)
    except (RefusedFieldError, UnreadableRequestError):
        return True
    return not isinstance(keyed, Bypass) and bool(keyed.objects)
