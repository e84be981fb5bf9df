"""Calls for the tests of keys."""

from __future__ import annotations

from typing import Any

from cachecore.keys import encode
from cachecore_llm.key import Bypass, Keyed, key_of
from cachecore_llm.wire import PROTOCOLS, Call, JsonObject, ProtocolName


def ask(protocol: ProtocolName, body: JsonObject, **more: Any) -> Keyed | Bypass:
    """Return what a call with this body is keyed by, whatever tools it offers; `more`: fields of the call."""
    call = Call(protocol=protocol, endpoint="https://host/v1", body=body, **more)
    return key_of(call, PROTOCOLS[protocol].parse(body), allowed_tools={"mcp", "shell", "code_interpreter"})


def keyed(protocol: ProtocolName, body: JsonObject, **more: Any) -> bytes:
    """Return the canonical bytes of a call."""
    found = ask(protocol, body, **more)
    assert isinstance(found, Keyed)
    return encode(found.request)


def objects(protocol: ProtocolName, body: JsonObject) -> frozenset[str]:
    """Return the fields that name objects of the provider."""
    found = ask(protocol, body)
    assert isinstance(found, Keyed)
    return found.objects


def chat(*parts: Any, **fields: Any) -> JsonObject:
    """Return a chat of one turn with these parts."""
    return {"model": "m", "messages": [{"role": "user", "content": list(parts)}], **fields}


def responses(*items: Any, **fields: Any) -> JsonObject:
    """Return a request for a response to these items."""
    return {"model": "m", "input": list(items), **fields}


def messages(*blocks: Any, **fields: Any) -> JsonObject:
    """Return a request of messages with one turn of these blocks."""
    return {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": list(blocks)}], **fields}
