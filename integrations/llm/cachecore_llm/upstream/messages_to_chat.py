"""Answers of Anthropic's messages as chat completions, whole and event by event."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Any, Final

from cachecore_llm.wire import ANTHROPIC_MESSAGES, JsonObject
from cachecore_llm.wire.facts import as_object, as_objects
from cachecore_llm.wire.objects import dump_text

_FINISH: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "refusal": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
}
"""Other ends keep their word: chat has none for them, and so they are not known to be good."""


def completion_of(body: JsonObject) -> JsonObject:
    """Return the body of a message as that of a chat completion. An error's body is returned as it is."""
    if body.get("type") == "error" or "content" not in body:
        return body
    blocks = as_objects(body.get("content"))
    texts = [block["text"] for block in blocks if isinstance(block.get("text"), str)]
    message: JsonObject = {
        "role": "assistant",
        "content": "".join(texts) if texts else None,
        "refusal": _refusal(body),
    }
    thinking = "".join(block["thinking"] for block in blocks if isinstance(block.get("thinking"), str))
    if thinking:
        message["reasoning_content"] = thinking
    calls = [block for block in blocks if block.get("type") == "tool_use"]
    if calls:
        message["tool_calls"] = [
            {
                "id": block.get("id"),
                "type": "function",
                "function": {"name": block.get("name"), "arguments": dump_text(block.get("input") or {})},
            }
            for block in calls
        ]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(body.get("stop_reason"))}
    completion: JsonObject = {
        "id": body.get("id"),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body.get("model"),
        "choices": [choice],
    }
    if body.get("usage") is not None:
        completion["usage"] = _usage(body["usage"])
    return completion


async def chunks_of(events: AsyncIterator[JsonObject]) -> AsyncGenerator[JsonObject, None]:
    """Yield the events of a message as the chunks of a chat completion, usage last. An error is passed on as it is.

    Without a finish reason if the message never ended, so that nothing takes it for whole.
    """
    state = _Chunks()
    async for event in events:
        for chunk in state.of(event):
            yield chunk


class _Chunks:
    """The part of a streamed message that the later chunks need."""

    def __init__(self) -> None:
        self._created = int(time.time())
        self._message: JsonObject = {}
        self._usage: JsonObject = {}
        self._calls: dict[Any, int] = {}
        """Index of a block that is a tool call -> place of that call."""
        self._inputs: dict[Any, JsonObject] = {}
        """Index of such a block -> the input that it began with, until a piece of another comes."""

    def of(self, event: JsonObject) -> Iterator[JsonObject]:
        """Yield the chunks of one event."""
        index = event.get("index") if type(event.get("index")) is int else None
        match event.get("type"):
            case "message_start":
                self._message = as_object(event.get("message"))
                self._usage = dict(as_object(self._message.get("usage")))
                yield self._chunk({"role": "assistant", "content": ""})
            case "content_block_start":
                yield from self._begun(index, as_object(event.get("content_block")))
            case "content_block_delta":
                yield from self._grown(index, as_object(event.get("delta")))
            case "content_block_stop":
                started = self._inputs.pop(index, None)
                if started is not None:
                    yield self._call(index, dump_text(started))
            case "message_delta":
                self._message = {**self._message, **as_object(event.get("delta"))}
                told = as_object(event.get("usage"))
                self._usage.update((name, value) for name, value in told.items() if value is not None)
            case "message_stop":
                yield from self._ended()
            case "error":
                yield {"error": event.get("error")}

    def _chunk(self, delta: JsonObject, finish: str | None = None) -> JsonObject:
        return {**self._head(), "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]}

    def _head(self) -> JsonObject:
        return {
            "id": self._message.get("id"),
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self._message.get("model"),
        }

    def _call(self, index: Any, arguments: str) -> JsonObject:
        call = {"index": self._calls[index], "function": {"arguments": arguments}}
        return self._chunk({"tool_calls": [call]})

    def _begun(self, index: Any, block: JsonObject) -> Iterator[JsonObject]:
        kind = block.get("type")
        if kind == "tool_use":
            place = self._calls[index] = len(self._calls)
            self._inputs[index] = as_object(block.get("input"))
            function = {"name": block.get("name"), "arguments": ""}
            call = {"index": place, "id": block.get("id"), "type": "function", "function": function}
            yield self._chunk({"tool_calls": [call]})
        elif kind == "text":
            yield from self._text("content", block.get("text"))
        elif kind == "thinking":
            yield from self._text("reasoning_content", block.get("thinking"))

    def _grown(self, index: Any, delta: JsonObject) -> Iterator[JsonObject]:
        match delta.get("type"):
            case "text_delta":
                yield from self._text("content", delta.get("text"))
            case "thinking_delta":
                yield from self._text("reasoning_content", delta.get("thinking"))
            case "input_json_delta" if index in self._calls:
                piece = delta.get("partial_json")
                if isinstance(piece, str) and piece:
                    self._inputs.pop(index, None)
                    yield self._call(index, piece)

    def _text(self, field: str, piece: Any) -> Iterator[JsonObject]:
        if isinstance(piece, str) and piece:
            yield self._chunk({field: piece})

    def _ended(self) -> Iterator[JsonObject]:
        refusal = _refusal(self._message)
        if refusal is not None:
            yield self._chunk({"refusal": refusal})
        yield self._chunk({}, _finish(self._message.get("stop_reason")))
        if self._usage:
            yield {**self._head(), "choices": [], "usage": _usage(self._usage)}


def _finish(reason: Any) -> Any:
    return _FINISH.get(reason, reason) if isinstance(reason, str) else None


def _refusal(body: JsonObject) -> str | None:
    if body.get("stop_reason") != "refusal":
        return None
    explanation = as_object(body.get("stop_details")).get("explanation")
    return explanation if isinstance(explanation, str) and explanation else "refusal"


def _usage(usage: Any) -> JsonObject:
    facts = ANTHROPIC_MESSAGES.facts({"content": [], "usage": usage}).usage
    if facts is None:
        return {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    counted: JsonObject = {
        "prompt_tokens": facts.input_tokens,
        "completion_tokens": facts.output_tokens,
        "total_tokens": facts.total_tokens,
        "prompt_tokens_details": {"cached_tokens": facts.cached_input_tokens},
    }
    if facts.cache_write_tokens:
        counted["prompt_tokens_details"]["cache_write_tokens"] = facts.cache_write_tokens
    if facts.reasoning_tokens:
        counted["completion_tokens_details"] = {"reasoning_tokens": facts.reasoning_tokens}
    return counted
