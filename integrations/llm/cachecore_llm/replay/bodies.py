"""The text of an answer as a whole body of a protocol that its provider does not speak."""

from __future__ import annotations

from typing import Any

from cachecore_llm.flow import body_of
from cachecore_llm.response import LLMResponse, Usage
from cachecore_llm.wire import JsonObject, ProtocolName


def body_in(protocol: ProtocolName, response: LLMResponse) -> JsonObject:
    """Return the text and the usage of `response` as a complete answer of `protocol`."""
    usage = response.usage if isinstance(response.usage, Usage) else None
    tokens: dict[str, Any] = (
        {} if usage is None else {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}
    )
    if protocol == "openai.responses":
        text = {"type": "output_text", "text": response.content, "annotations": []}
        message = {"id": "msg_replay", "type": "message", "role": "assistant", "status": "completed", "content": [text]}
        total = {"total_tokens": sum(tokens.values())} if tokens else {}
        return {
            "id": "resp_replay",
            "object": "response",
            "status": "completed",
            "model": response.model,
            "output": [message],
            "usage": {**tokens, **total} or None,
        }
    if protocol == "anthropic.messages":
        return {
            "id": "msg_replay",
            "type": "message",
            "role": "assistant",
            "model": response.model,
            "content": [{"type": "text", "text": response.content}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": tokens or {"input_tokens": 0, "output_tokens": 0},
        }
    return body_of(protocol, response)
