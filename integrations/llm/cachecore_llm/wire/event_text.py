"""The text that one event of a stream adds to the answer."""

from __future__ import annotations

from typing import Any

from cachecore_llm.wire.call import JsonObject, ProtocolName
from cachecore_llm.wire.facts import as_object, as_objects


def text_in(protocol: ProtocolName, event: JsonObject) -> str:
    """Return the piece of the answer's text in `event`, empty if it holds none; of several choices, the first's."""
    piece: Any = None
    if protocol == "plain":
        piece = event.get("text")
    elif protocol == "openai.chat":
        piece = "".join(
            part
            for choice in as_objects(event.get("choices"))
            if choice.get("index", 0) == 0 and isinstance(part := as_object(choice.get("delta")).get("content"), str)
        )
    elif protocol == "openai.responses":
        piece = event.get("delta") if event.get("type") == "response.output_text.delta" else None
    elif protocol == "anthropic.messages" and event.get("type") == "content_block_delta":
        delta = as_object(event.get("delta"))
        piece = delta.get("text") if delta.get("type") == "text_delta" else None
    return piece if isinstance(piece, str) else ""
