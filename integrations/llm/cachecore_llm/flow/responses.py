"""Between an answer's body and `LLMResponse`, for every protocol that answers with text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec.structs import force_setattr, replace

from cachecore_llm.flow.answers import Answer
from cachecore_llm.flow.stored import StoredAnswer
from cachecore_llm.response import FROM_CACHE, Choice, LLMResponse, ToolCall, Usage, marked
from cachecore_llm.wire import PROTOCOLS, ChoiceFacts, JsonObject, ProtocolName, ToolCallFacts, UsageFacts
from cachecore_llm.wire.objects import dump

_MOST_MADE: Final = 512
_LARGEST_MADE: Final = 4096
"""Bytes of the largest body of which a response is kept."""

_made: dict[tuple[bytes, str, bool, float], LLMResponse] = {}
"""Responses of answers that were read before: immutable, so that all callers may share one. Emptied when it is full."""

_copied: Final[Callable[[LLMResponse], LLMResponse]] = LLMResponse.__copy__  # type: ignore[attr-defined]  # of all structs

_CONTENT: Final = ("content", "usage", "finish_reason", "tool_calls", "refusal", "reasoning", "choices")

_hits: dict[tuple[bytes, str, bool, float], LLMResponse] = {}
"""The same, marked as hits, without their age."""


def response_of(answer: Answer) -> LLMResponse:
    """Return `answer` as applications see it. O(1) for an answer that was read before."""
    stored = answer.stored
    body = stored.body
    key = (body, stored.provider, stored.fallback, stored.latency)
    made = _made.get(key) if len(body) <= _LARGEST_MADE else _response(stored)
    if made is None:
        if len(_made) >= _MOST_MADE:
            _made.clear()
        made = _made[key] = _response(stored)
    status = answer.status
    changes: dict[str, Any] = {}
    if answer.facts is not None and answer.facts.echoed:
        changes["raw"] = dump(answer.body())
    if status == "miss":
        return replace(made, **changes) if changes else made
    if answer.matched_message is not None:
        changes |= {"similarity": answer.similarity, "matched_message": answer.matched_message}
    return replace(made, cached=status in FROM_CACHE, cache_status=status, age=answer.age, **changes)


def text_of(stored: StoredAnswer) -> str:
    """Return the text of a stored answer."""
    return _response(stored).content


def hit_response(stored: StoredAnswer, age: float | None) -> LLMResponse:
    """Return a hit of `stored` as applications see it. As `response_of`, for a request that is echoed nowhere."""
    body = stored.body
    key = (body, stored.provider, stored.fallback, stored.latency)
    made = _hits.get(key)
    if made is None:
        made = marked(_response(stored), "hit")
        if len(body) <= _LARGEST_MADE:
            if len(_hits) >= _MOST_MADE:
                _hits.clear()
            _hits[key] = made
    response = _copied(made)  # takes half as long as `replace`, which checks all fields again
    force_setattr(response, "age", age)
    return response


def response_in(protocol: ProtocolName, body: JsonObject, **way: Any) -> LLMResponse:
    """Return the response in an answer's body. `way`: further fields of `LLMResponse`."""
    facts = PROTOCOLS[protocol].facts(body)
    choices = facts.choices or (ChoiceFacts(),)
    first = choices[0]
    return LLMResponse(
        content=first.text,
        model=facts.model or "",
        usage=_usage(facts.usage),
        finish_reason=first.raw_finish,
        tool_calls=tuple(map(_call, first.tool_calls)),
        refusal=first.refusal,
        reasoning=first.reasoning or None,
        choices=tuple(map(_choice, choices)) if len(choices) > 1 else (),
        raw=dump(body),
        **way,
    )


def body_of(protocol: ProtocolName, response: LLMResponse) -> JsonObject:
    """Return the content of `response` as a body of `protocol`: the provider's own if it says the same."""
    body = response.body
    if body is not None and _says(protocol, body, response):
        return body
    calls = [{"id": call.id, "name": call.name, "arguments": call.arguments} for call in response.tool_calls]
    if protocol == "plain":
        said: JsonObject = {
            "content": response.content,
            "model": response.model or None,
            "usage": msgspec.to_builtins(response.usage) if isinstance(response.usage, Usage) else None,
            "finish_reason": response.finish_reason,
            "tool_calls": calls or None,
            "refusal": response.refusal,
            "reasoning": response.reasoning,
        }
        return {name: value for name, value in said.items() if value is not None}
    return _completion(response, calls)


def _says(protocol: ProtocolName, body: JsonObject, response: LLMResponse) -> bool:
    """Return whether `body` is one of `protocol` and has the content of `response`, which may have been edited."""
    read = response_in(protocol, body)
    return all(getattr(read, field) == getattr(response, field) for field in _CONTENT)


def _completion(response: LLMResponse, calls: list[JsonObject]) -> JsonObject:
    message: JsonObject = {"role": "assistant", "content": response.content or None}
    if calls:
        message["tool_calls"] = [
            {"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": call["arguments"]}}
            for call in calls
        ]
    for name, value in (("refusal", response.refusal), ("reasoning_content", response.reasoning)):
        if value is not None:
            message[name] = value
    finish = response.finish_reason or ("tool_calls" if calls else "stop")
    body: JsonObject = {
        "object": "chat.completion",
        "model": response.model,
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
    }
    if isinstance(response.usage, Usage):
        body["usage"] = {
            "prompt_tokens": response.usage.prompt_tokens,
            "completion_tokens": response.usage.completion_tokens,
            "total_tokens": response.usage.total_tokens,
        }
    return body


def _response(stored: StoredAnswer) -> LLMResponse:
    return response_in(
        stored.protocol, stored.read(), provider=stored.provider, fallback=stored.fallback, latency=stored.latency
    )


def _usage(usage: UsageFacts | None) -> Usage | None:
    if usage is None:
        return None
    return Usage(
        prompt_tokens=usage.input_tokens,
        completion_tokens=usage.output_tokens,
        cached_tokens=usage.cached_input_tokens,
        reasoning_tokens=usage.reasoning_tokens,
    )


def _call(call: ToolCallFacts) -> ToolCall:
    return ToolCall(id=call.id or "", name=call.name or "", arguments=call.arguments)


def _choice(choice: ChoiceFacts) -> Choice:
    return Choice(
        content=choice.text,
        finish_reason=choice.raw_finish,
        tool_calls=tuple(map(_call, choice.tool_calls)),
        refusal=choice.refusal,
        reasoning=choice.reasoning or None,
    )
