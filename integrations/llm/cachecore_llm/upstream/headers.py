"""Headers and query of a client: which of them shape answers, which are credentials, and which are neither."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Final

_TRANSPORT: Final = frozenset(
    {
        *("accept", "accept-encoding", "connection", "content-length", "content-type", "host", "user-agent"),
        *("cache-control", "content-encoding", "cookie", "expect", "keep-alive", "pragma"),
        *("set-cookie", "te", "transfer-encoding", "upgrade"),
        *("traceparent", "tracestate", "baggage", "b3", "x-request-id", "x-correlation-id", "x-client-request-id"),
        *("idempotency-key", "x-idempotency-key", "x-trace-id", "x-span-id"),
    }
)
"""Headers that say how one request travels and shape no answer."""

_TRANSPORT_PREFIXES: Final = ("x-stainless-", "x-b3-", "x-datadog-", "sentry-", "x-amzn-trace-")

_CREDENTIALS: Final = frozenset(
    {
        *("authorization", "proxy-authorization", "api-key", "x-api-key", "openai-organization", "openai-project"),
        *("anthropic-workspace-id", "anthropic-organization-id"),
    }
)
_SECRET: Final = re.compile(r"(?:^|[-_])(?:auth|authorization|code|credential|jwt|key|password|secret|sig|token)s?$")
"""Names by which gateways take a second credential, such as `helicone-auth` and `x-portkey-api-key`."""


def shaping(headers: Mapping[str, object]) -> dict[str, str]:
    """Return the headers that shape answers, with names in lower case. A value that is no text is one left out."""
    return {
        name.lower(): value
        for name, value in headers.items()
        if isinstance(value, str) and not is_transport(name.lower()) and not is_credential(name.lower())
    }


def credentials(headers: Mapping[str, object]) -> dict[str, str]:
    """Return the headers, or the query, that name the caller to the provider, with names in lower case."""
    return {
        name.lower(): value for name, value in headers.items() if isinstance(value, str) and is_credential(name.lower())
    }


def is_transport(name: str) -> bool:
    """Whether the header `name`, in lower case, only says how a request travels."""
    return name in _TRANSPORT or name.startswith(_TRANSPORT_PREFIXES)


def is_credential(name: str) -> bool:
    """Whether the header or query parameter `name`, in lower case, names the caller."""
    # `idempotency-key` is named like a secret, and each call has a new one.
    return name in _CREDENTIALS or (_SECRET.search(name) is not None and not is_transport(name))


def scope_digest(facts: Iterable[object], key: bytes = b"") -> str | None:
    """Return a digest of a credential and its organisation, project and the like; None if all are missing.

    `key` makes it one that cannot be found by trying. It is at most 64 bytes.
    """
    found = list(facts)
    if not any(found):
        return None
    data = json.dumps(found, sort_keys=True, default=str).encode()
    return hashlib.blake2b(data, digest_size=16, key=key).hexdigest()
