"""Which headers of a request shape the answer: all but those listed here, so that an unknown one is keyed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

CREDENTIAL_HEADERS: Final = frozenset(
    {"api-key", "authorization", "proxy-authorization", "x-api-key", "x-goog-api-key", "x-goog-user-project"}
)
"""Headers that say who asks. They make the scope of a call, whichever of them carries the credential."""

SCOPE_HEADERS: Final = frozenset({"anthropic-workspace-id", "openai-organization", "openai-project"})
"""Headers that say for whom a credential asks."""

_TRANSPORT: Final = frozenset(
    {
        *("accept", "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "cookie"),
        *("expect", "host", "keep-alive", "te", "transfer-encoding", "upgrade", "user-agent"),
        *("cache-control", "pragma"),
    }
)
"""How a request travels. `accept` is the same for streams: the body's `stream` tells."""

_ONE_CALL: Final = frozenset(
    {
        *("b3", "baggage", "request-id", "sentry-trace", "traceparent", "tracestate", "uber-trace-id"),
        *("x-amzn-trace-id", "x-client-request-id", "x-cloud-trace-context", "x-correlation-id", "x-request-id"),
        *("idempotency-key", "x-idempotency-key"),
    }
)
"""Names of one call: tracing, idempotency."""

_NOT_KEYED: Final = CREDENTIAL_HEADERS | SCOPE_HEADERS | _TRANSPORT | _ONE_CALL
_NOT_KEYED_PREFIXES: Final = ("x-b3-", "x-datadog-", "x-stainless-")


def shaping(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that are part of the key. Names are in lower case."""
    return {
        name: value
        for name, value in headers.items()
        if name not in _NOT_KEYED and not name.startswith(_NOT_KEYED_PREFIXES)
    }
