"""The protocol `anthropic.messages`: `POST /v1/messages`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cachecore_llm.wire.call import JsonObject, MediaKind, OutputKind, ProtocolName, RequestFacts, ToolOffer
from cachecore_llm.wire.facts import (
    AnswerFacts,
    ChoiceFacts,
    Finish,
    ToolCallFacts,
    UsageFacts,
    as_object,
    as_objects,
    count,
    error_facts,
    text_or_none,
)
from cachecore_llm.wire.messages import replay
from cachecore_llm.wire.messages.assembly import COMPLETE, AnthropicAssembly
from cachecore_llm.wire.objects import dump_text, load
from cachecore_llm.wire.pieces import Pieces
from cachecore_llm.wire.requests import Reader
from cachecore_llm.wire.sse import DONE, ServerEvent, encode_object

_FINISH: Mapping[str, Finish] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refusal",
    "pause_turn": "pause",
}

_MEDIA: Mapping[str, MediaKind] = {"image": "image", "document": "file", "container_upload": "file"}

_CALLER_TOOLS = ("bash_", "text_editor_", "computer_", "memory_")
"""Kinds of tools that Anthropic defines and the caller runs; any other kind with a date runs at the provider."""


class AnthropicMessages:
    """`WireProtocol` of messages."""

    name: ProtocolName = "anthropic.messages"
    end_frame = b""

    def parse(self, body: JsonObject) -> RequestFacts:
        """Return the facts of a request body. Raises UnreadableRequestError."""
        read = Reader(self.name, body)
        messages = read.objects("messages")
        output, schema = _output(read)
        return RequestFacts(
            model=read.text("model"),
            stream=read.flag("stream"),
            include_usage=True,
            tools=tuple(_offers(read)),
            output=output,
            schema=schema,
            media=read.media(read.parts(messages), _MEDIA),
            user_turns=sum(message.get("role") == "user" and not _is_results(message) for message in messages),
            max_output_tokens=read.bound("max_tokens"),
        )

    def facts(self, body: JsonObject) -> AnswerFacts:
        """Return the facts of an answer's body."""
        failed = body.get("type") == "error" or body.get("error") is not None
        raw = text_or_none(body.get("stop_reason"))
        choices = () if failed or "content" not in body else (_choice(body, raw),)
        return AnswerFacts(
            id=text_or_none(body.get("id")),
            model=text_or_none(body.get("model")),
            choices=choices,
            usage=_usage(body.get("usage")),
            service_tier=text_or_none(as_object(body.get("usage")).get("service_tier")),
            error=error_facts(body.get("error")) if failed else None,
            complete=bool(choices) and raw in COMPLETE,
        )

    def assembly(self, request: RequestFacts | None = None) -> AnthropicAssembly:
        """Return a new assembly of an answer."""
        return AnthropicAssembly()

    def events_of(self, body: JsonObject, pieces: Pieces | None = None) -> Iterator[JsonObject]:
        """Yield the events of a complete body."""
        return replay.events_of(body, pieces)

    def neutral(self, event: JsonObject) -> JsonObject:
        """Return the event itself: a message repeats nothing of a request that is not keyed."""
        return event

    def shown_to(self, event: JsonObject, request: RequestFacts) -> JsonObject | None:
        """Return the event itself: every caller gets the same."""
        return event

    def event_of(self, sent: ServerEvent) -> JsonObject | None:
        """Return the event in a server-sent event; None for a ping."""
        if sent.event == "ping" or self.is_end(sent) or not sent.data.strip():
            return None
        event = load(sent.data)
        if "type" not in event and sent.event:
            event = {"type": sent.event, **event}
        return None if event.get("type") == "ping" else event

    def is_end(self, sent: ServerEvent) -> bool:
        """Whether the server-sent event is a `[DONE]`, which some gateways add. The protocol itself has no mark."""
        return sent.data.startswith(DONE)

    def frame(self, event: JsonObject) -> bytes:
        """Return the event as a server-sent event with its type as its name, without which the SDK drops it."""
        return encode_object(event, event=str(event.get("type", "")))


def _output(read: Reader) -> tuple[OutputKind, JsonObject | None]:
    config = as_object(read.object("output_config"))
    asked = as_object(config.get("format") or read.object("output_format"))
    if asked.get("type") == "json_schema":
        return "schema", as_object(asked.get("schema")) or None
    return "text", None


def _offers(read: Reader) -> Iterator[ToolOffer]:
    for tool in read.objects("tools"):
        kind = text_or_none(tool.get("type")) or "custom"
        by_caller = kind == "custom" or kind.startswith(_CALLER_TOOLS)
        yield ToolOffer(kind=kind, name=text_or_none(tool.get("name")), by_caller=by_caller)
    for server in read.objects("mcp_servers"):
        yield ToolOffer(kind="mcp", name=text_or_none(server.get("name")), by_caller=False)


def _is_results(message: JsonObject) -> bool:
    parts = as_objects(message.get("content"))
    return bool(parts) and all(part.get("type") == "tool_result" for part in parts)


def _choice(body: JsonObject, raw: str | None) -> ChoiceFacts:
    blocks = as_objects(body.get("content"))
    text = "".join(block["text"] for block in blocks if isinstance(block.get("text"), str))
    refused = raw == "refusal"
    details = as_object(body.get("stop_details"))
    return ChoiceFacts(
        text=text,
        tool_calls=tuple(_call(block) for block in blocks if str(block.get("type")).endswith("tool_use")),
        reasoning="".join(block["thinking"] for block in blocks if isinstance(block.get("thinking"), str)),
        refusal=(text_or_none(details.get("explanation")) or text or "refusal") if refused else None,
        finish=_FINISH.get(raw or "", "unknown"),
        raw_finish=raw,
        media=any(block.get("type") in ("image", "container_upload") for block in blocks),
    )


def _call(block: JsonObject) -> ToolCallFacts:
    return ToolCallFacts(
        id=text_or_none(block.get("id")),
        name=text_or_none(block.get("name")),
        arguments=dump_text(block.get("input", {})),
        kind=str(block["type"]),
        by_caller=block["type"] == "tool_use",
    )


def _usage(usage: Any) -> UsageFacts | None:
    if not isinstance(usage, dict):
        return None
    read, written = count(usage.get("cache_read_input_tokens")), count(usage.get("cache_creation_input_tokens"))
    return UsageFacts(
        input_tokens=count(usage.get("input_tokens")) + read + written,
        cached_input_tokens=read,
        cache_write_tokens=written,
        output_tokens=count(usage.get("output_tokens")),
        reasoning_tokens=count(as_object(usage.get("output_tokens_details")).get("thinking_tokens")),
    )


ANTHROPIC_MESSAGES = AnthropicMessages()
