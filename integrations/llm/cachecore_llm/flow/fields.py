"""Digests of a request's fields, kept beside its answer: they tell in which fields two requests differ, and no more.

Each field that is keyed has a digest of 8 bytes, and so has each message. They are made under a key that the hasher of
the cache gives, one for each tenant. So digests of two tenants never compare, and where that hasher has a secret, no
value can be guessed from its digest without it.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from cachecore import Cache
from cachecore.keys import encode
from cachecore_llm.wire import JsonObject

DIGEST_BYTES: Final = 8
"""Two values of one field have one digest with a chance of 1 in 10^19."""

FieldDigests = dict[str, bytes]
"""Name of a field -> digest. A name that ends in `[]` is a list of messages, with a digest for each, joined. Under the
empty name stands a digest of the protocol: those of two keys or two protocols do not compare."""

_MESSAGES: Final = frozenset({"context", "input", "messages"})
_OF_THE_CALL: Final = ("endpoint", "scope", "credential", "prompt", "prompt_version", "sample")
_NAMES_OF_THE_CALL: Final = frozenset({*_OF_THE_CALL, "headers", "protocol", "tenant"})
_MOST_KEYS: Final = 1024
_DECODER: Final = msgspec.msgpack.Decoder(FieldDigests)


class FieldDigester:
    """Makes the digests of requests to `root`, a cache of answers."""

    def __init__(self, root: Cache[Any]) -> None:
        self._root = root
        self._keyed: OrderedDict[str | None, Any] = OrderedDict()  # tenant -> the keyed state to begin from

    def digests(self, request: JsonObject) -> FieldDigests:
        """Return the digests of a request, given as the value that is keyed. O(size of the request)."""
        keyed = self._state(request["tenant"])
        made = {"": _digest(keyed, request["protocol"])}
        for name, value in fields_of(request):
            made[name] = (
                b"".join(_digest(keyed, message) for message in value) if name.endswith("[]") else _digest(keyed, value)
            )
        return made

    def packed(self, request: JsonObject) -> bytes:
        """Return the digests of a request as they are stored."""
        return msgspec.msgpack.encode(self.digests(request))

    def _state(self, tenant: str | None) -> Any:
        state = self._keyed.get(tenant)
        if state is None:
            # From the cache's own hasher, so that its secret is in it.
            key = hashlib.blake2b(self._root.key({"digests of fields": tenant}).encode(), digest_size=32).digest()
            state = self._keyed[tenant] = hashlib.blake2b(key=key, digest_size=DIGEST_BYTES)
            if len(self._keyed) > _MOST_KEYS:
                self._keyed.popitem(last=False)
        return state


def unpacked(data: bytes | None) -> FieldDigests | None:
    """Return stored digests; None if there are none, or none that can be read."""
    if data is None:
        return None
    try:
        made = _DECODER.decode(data)
    except msgspec.DecodeError:
        return None
    return made if all(len(digest) % DIGEST_BYTES == 0 for digest in made.values()) else None


def fields_of(request: JsonObject) -> Iterator[tuple[str, Any]]:
    """Yield name and value of each field of a request that is keyed so.

    Fields of the body and parameters have their own names; one that is called as a field of the call begins with
    `body.`. The name of a list of messages ends in `[]`.
    """
    for name in _OF_THE_CALL:
        value = request.get(name)
        if value is not None and value != "":
            yield name, value
    for name, value in request["headers"].items():
        yield f"headers.{name}", value
    body = request["body"]
    if request["protocol"] == "plain":
        own = {name: value for name, value in body.items() if name != "params" and value is not None}
        body = {**own, **(body.get("params") or {})}
    for name, value in body.items():
        shown = f"body.{name}" if name in _NAMES_OF_THE_CALL else name
        if name in _MESSAGES and isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
            yield f"{shown}[]", value
        else:
            yield shown, value


def _digest(keyed: Any, value: Any) -> bytes:
    state = keyed.copy()
    state.update(encode(value))
    digest: bytes = state.digest()
    return digest
