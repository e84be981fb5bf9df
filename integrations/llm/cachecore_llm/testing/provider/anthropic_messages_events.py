"""`anthropic.messages`: a body as the events of a stream. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from cachecore_llm.testing.provider import anthropic_messages, errors
from cachecore_llm.testing.provider.ask import Ask, pieces
from cachecore_llm.testing.provider.fresh import Fresh
from cachecore_llm.testing.provider.protocol import Event, Protocol

_AT_THE_END = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")


def _event(kind: str, **fields: Any) -> Event:
    return Event(kind, {"type": kind, **fields})


def events(ask: Ask, body: dict[str, Any], fresh: Fresh) -> Iterator[Event]:
    """Yield the events from which a client assembles `body`."""
    usage = body["usage"]
    begun_usage = {
        name: value for name, value in usage.items() if name not in ("server_tool_use", "output_tokens_details")
    }
    begun = {**body, "content": [], "stop_reason": None, "stop_sequence": None, "stop_details": None}
    yield _event("message_start", message={**begun, "usage": {**begun_usage, "output_tokens": 1}})
    for index, block in enumerate(body["content"]):
        parts = _block(ask, index, block)
        if index == 0:
            yield next(parts)
            yield _event("ping")
        yield from parts
    if ask.directives.unknown:
        yield _event("vendor_event", score=1)
    ended = {name: usage[name] for name in (*_AT_THE_END, "server_tool_use", "output_tokens_details") if name in usage}
    delta = {name: body[name] for name in ("stop_reason", "stop_sequence", "stop_details")}
    yield _event("message_delta", delta=delta, usage=ended)
    yield _event("message_stop")


def _block(ask: Ask, index: int, block: dict[str, Any]) -> Iterator[Event]:
    chunks = ask.directives.chunks
    start = dict(block)
    deltas: list[dict[str, Any]] = []
    match block["type"]:
        case "text":
            start["text"] = ""
            deltas = [{"type": "text_delta", "text": piece} for piece in pieces(block["text"], chunks)]
            if block["citations"]:
                start["citations"] = []
                deltas += [{"type": "citations_delta", "citation": one} for one in block["citations"]]
        case "thinking":
            start |= {"thinking": "", "signature": ""}
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces(block["thinking"], chunks)]
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        case "tool_use" | "server_tool_use":
            start["input"] = {}
            text = msgspec.json.format(msgspec.json.encode(block["input"]), indent=0).decode() if block["input"] else ""
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in ("", *pieces(text, chunks))]
        case "vendor_block":
            deltas = [{"type": "vendor_delta", "score": 1}]
    yield _event("content_block_start", index=index, content_block=start)
    for delta in deltas:
        yield _event("content_block_delta", index=index, delta=delta)
    yield _event("content_block_stop", index=index)


def failure(kind: str | None, sent: int) -> list[Event]:
    """Return the error event of a stream."""
    return [_event("error", error=errors.anthropic_error(529, kind=kind))]


PROTOCOL = Protocol(
    name=anthropic_messages.NAME,
    path="/v1/messages",
    vendor="anthropic",
    read=anthropic_messages.read,
    whole=anthropic_messages.whole,
    events=events,
    failure=failure,
    deviations=frozenset(("comments", "crlf", "no-space", "error-200")),
    prompt=anthropic_messages.prompt,
)
