"""Credentials inside a body: they are part of the key, and only their digest is part of anything else.

The address of an MCP server counts as one: many services put a token into its path.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from cachecore_llm.wire.call import JsonObject

SECRET_FIELDS: Final = frozenset({"authorization", "authorization_token", "headers", "server_url", "url"})
"""Fields of a tool, or of a server that offers tools."""

_PLACES_OF_CODE: Final = frozenset({"container", "environment"})
"""Fields of a tool that describe where code runs, with credentials for the network there."""


class Digester:
    """Makes digests of credentials. `key` is at most 64 bytes, and the same in all processes that share answers.

    Without a key, a credential that can be guessed can be found from its digest by trying.
    """

    __slots__ = ("_key",)

    def __init__(self, key: bytes = b"") -> None:
        if len(key) > hashlib.blake2b.MAX_KEY_SIZE:
            raise ValueError(
                f"the key of digests must have at most {hashlib.blake2b.MAX_KEY_SIZE} bytes, not {len(key)};"
                " give a digest of a longer one"
            )
        self._key = key

    def digest(self, secret: Any) -> list[Any]:
        """Return the digest that is keyed in place of a JSON value. The order of fields does not count."""
        data = json.dumps(secret, sort_keys=True, separators=(",", ":")).encode()
        return [b"secret", hashlib.blake2b(data, digest_size=32, key=self._key).digest()]

    def hide(self, tool: Mapping[str, Any]) -> JsonObject:
        """Return a tool, or a server that offers tools, with digests in place of its credentials."""
        return {
            name: self.digest(value)
            if name in SECRET_FIELDS and value is not None
            else self._place(value)
            if name in _PLACES_OF_CODE
            else value
            for name, value in tool.items()
        }

    def _place(self, value: Any) -> Any:
        policy = value.get("network_policy") if isinstance(value, dict) else None
        if not isinstance(policy, dict) or policy.get("domain_secrets") is None:
            return value
        return {**value, "network_policy": {**policy, "domain_secrets": self.digest(policy["domain_secrets"])}}
