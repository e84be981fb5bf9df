"""Chat requests for a provider that has only `generate`, and its answers as chat completions."""

from __future__ import annotations

import time
import uuid
from typing import Any, Final

from cachecore_llm.errors import UnsupportedRequestError
from cachecore_llm.wire import JsonObject
from cachecore_llm.wire.facts import as_objects

_DELIVERY: Final = frozenset({"messages", "stream", "stream_options"})
_GOOD_ENDS: Final = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "tool_use": "tool_calls"}
"""Other protocols' words for the ends that chat has a word for."""


def plain_of(body: JsonObject, provider: str) -> JsonObject:
    """Return the body of a chat request as a plain one.

    Raises UnsupportedRequestError unless the messages are one of the system at most, then a conversation, then one
    message of the user.
    """
    messages: list[Any] = list(body.get("messages") or ())
    first = messages[0] if messages else None
    system = ""
    if isinstance(first, dict) and first.get("role") in ("system", "developer"):
        system = _text(first.get("content"), provider, 0)
        messages = messages[1:]
    last = messages.pop() if messages else None
    if not isinstance(last, dict) or last.get("role") != "user":
        raise UnsupportedRequestError(
            f"{provider} has only generate, so the last entry of messages must be one of the user, not "
            f"{last.get('role') if isinstance(last, dict) else last!r}"
        )
    return {
        "system_prompt": system,
        "user_message": last.get("content") or "",
        "context": messages or None,
        "params": {name: value for name, value in body.items() if name not in _DELIVERY},
    }


def _text(content: Any, provider: str, index: int) -> str:
    if isinstance(content, str):
        return content
    parts = as_objects(content)
    if any(part.get("type") != "text" for part in parts):
        raise UnsupportedRequestError(f"{provider} has only generate, so messages[{index}] must be text alone")
    return "".join(part.get("text") or "" for part in parts)


def completion_of(body: JsonObject) -> JsonObject:
    """Return a plain answer's body as that of a chat completion."""
    message: JsonObject = {"role": "assistant", "content": body.get("content"), "refusal": body.get("refusal")}
    if body.get("reasoning"):
        message["reasoning_content"] = body["reasoning"]
    calls = as_objects(body.get("tool_calls"))
    if calls:
        message["tool_calls"] = [
            {
                "id": call.get("id") or f"call_{place}",
                "type": "function",
                "function": {"name": call.get("name") or "", "arguments": call.get("arguments") or ""},
            }
            for place, call in enumerate(calls)
        ]
    finish = body.get("finish_reason") or ("tool_calls" if calls else "stop")
    completion: JsonObject = {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body.get("model") or "",
        "choices": [
            {"index": 0, "message": message, "logprobs": None, "finish_reason": _GOOD_ENDS.get(finish, finish)}
        ],
    }
    if (usage := _usage(body.get("usage"))) is not None:
        completion["usage"] = usage
    return completion


def _usage(usage: Any) -> JsonObject | None:
    if not isinstance(usage, dict):
        return None
    prompt = usage.get("prompt_tokens") or usage.get("input_tokens") or 0
    output = usage.get("completion_tokens") or usage.get("output_tokens") or 0
    counted: JsonObject = {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}
    if usage.get("cached_tokens"):
        counted["prompt_tokens_details"] = {"cached_tokens": usage["cached_tokens"]}
    if usage.get("reasoning_tokens"):
        counted["completion_tokens_details"] = {"reasoning_tokens": usage["reasoning_tokens"]}
    return counted
