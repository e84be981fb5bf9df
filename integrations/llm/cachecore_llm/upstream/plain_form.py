"""The protocol `plain`: requests and answers of a provider that has only `generate`, as JSON objects."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from enum import Enum
from typing import Any, Final

import msgspec

from cachecore_llm.errors import UnusableAnswerError
from cachecore_llm.response import LLMResponse, ToolCall
from cachecore_llm.wire import JsonObject
from cachecore_llm.wire.facts import as_objects

_FIELDS: Final = frozenset(LLMResponse.__struct_fields__)
_SAID: Final = ("content", "model", "usage", "finish_reason", "refusal", "reasoning")
"""Fields of an answer that a provider says. `tool_calls` is one more, of objects."""

_COUNTS: Final = (
    *("prompt_tokens", "completion_tokens", "input_tokens", "output_tokens", "total_tokens"),
    *("cached_tokens", "reasoning_tokens"),
)


def plain_body(system_prompt: str, user_message: Any, context: Any, params: Mapping[str, Any]) -> JsonObject:
    """Return the body of a plain request."""
    return {
        "system_prompt": system_prompt,
        "user_message": user_message,
        "context": context,
        "params": dict(params),
    }


def body_of(answer: LLMResponse) -> JsonObject:
    """Return the body of a plain answer: what the provider said, and `provider` and `latency` if it gave them."""
    finish = answer.finish_reason
    body: JsonObject = {
        "content": answer.content,
        "model": answer.model,
        "usage": _usage(answer.usage),
        "finish_reason": _word(finish),
        "tool_calls": [{"id": call.id, "name": call.name, "arguments": call.arguments} for call in answer.tool_calls],
        "refusal": answer.refusal,
        "reasoning": getattr(answer, "reasoning", None),
        "provider": answer.provider or None,
        "latency": answer.latency or None,
    }
    return {name: value for name, value in body.items() if value is not None and value != []}


def way_of(body: JsonObject) -> tuple[JsonObject, str | None, float | None]:
    """Return a plain answer's body without the way it came, and that: provider and seconds, None if not said."""
    if "provider" not in body and "latency" not in body:
        return body, None, None
    said = {name: value for name, value in body.items() if name not in ("provider", "latency")}
    return said, body.get("provider"), body.get("latency")


def response_of(body: JsonObject, *, provider: str, fallback: bool, latency: float) -> LLMResponse:
    """Return a plain answer as the struct that applications see."""
    said = {name: body[name] for name in _SAID if name in _FIELDS and body.get(name) is not None}
    said.setdefault("content", "")
    calls = tuple(
        ToolCall(id=call.get("id") or "", name=call.get("name") or "", arguments=call.get("arguments") or "")
        for call in as_objects(body.get("tool_calls"))
    )
    return LLMResponse(**said, tool_calls=calls, provider=provider, fallback=fallback, latency=latency)


async def events_of(body: JsonObject) -> AsyncGenerator[JsonObject, None]:
    """Yield the events of a plain answer that came whole."""
    if body.get("content"):
        yield {"text": body["content"]}
    yield {"end": {name: value for name, value in body.items() if name != "content"}}


async def whole_of(provider: str, events: AsyncIterator[JsonObject]) -> JsonObject:
    """Return the body that plain events amount to. Raises UnusableAnswerError if they have no end."""
    texts: list[str] = []
    async for event in events:
        if isinstance(event.get("text"), str):
            texts.append(event["text"])
        if isinstance(event.get("end"), dict):
            return {"content": "".join(texts), **event["end"]}
    raise UnusableAnswerError(provider, "the stream ended before its answer")


def _word(finish: Any) -> str | None:
    if isinstance(finish, Enum):
        return finish.name
    return finish if finish is None or isinstance(finish, str) else str(finish)


def _usage(usage: Any) -> JsonObject | None:
    if usage is None:
        return None
    if isinstance(usage, msgspec.Struct):
        counted: Any = msgspec.to_builtins(usage)
    elif isinstance(usage, Mapping):
        counted = usage
    else:
        counted = {name: getattr(usage, name, None) for name in _COUNTS}
    return {name: value for name, value in counted.items() if type(value) is int} or None
