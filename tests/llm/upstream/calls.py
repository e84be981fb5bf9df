"""Calls as the flow writes them, and answers that are told apart by what the provider made new each time."""

from __future__ import annotations

from typing import Any

from cachecore_llm.upstream import WireProvider
from cachecore_llm.wire import PROTOCOLS, Call, JsonObject, Recording, record

WEATHER: JsonObject = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def chat(text: Any, **body: Any) -> Call:
    """Return a chat call whose last message is `text`."""
    return Call(
        protocol="openai.chat",
        endpoint="",
        body={"model": "gpt-local", "messages": [{"role": "user", "content": text}], **body},
    )


def plain(text: Any, system: str = "", context: Any = None, **params: Any) -> Call:
    """Return a plain call."""
    body = {"system_prompt": system, "user_message": text, "context": context, "params": params}
    return Call(protocol="plain", endpoint="", body=body)


async def events_of(provider: WireProvider, call: Call) -> list[JsonObject]:
    """Return the events of a stream to its end."""
    return [event async for event in provider.stream(call)]


async def recorded(provider: WireProvider, call: Call) -> Recording:
    """Return what a stream amounts to."""
    protocol = PROTOCOLS[call.protocol]
    return record(protocol, map(protocol.neutral, await events_of(provider, call)), protocol.parse(call.body))


_FRESH = frozenset(
    {"id", "call_id", "item_id", "created", "created_at", "completed_at", "system_fingerprint", "expires_at"}
)


def timeless(value: Any) -> Any:
    """Return a body without ids and times, which differ between two answers to one request."""
    if isinstance(value, dict):
        return {key: timeless(inner) for key, inner in value.items() if key not in _FRESH}
    return [timeless(inner) for inner in value] if isinstance(value, list) else value
