"""How a block of an Anthropic message begins in a stream, and where it grows.

Slots: `start`, `delta`, `stop` (the message), `0+` and `0.` (block 0 begins and ends), `0/<field>` (a piece of it).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from cachecore_llm.wire.call import JsonObject

START, DELTA, STOP = "start", "delta", "stop"

TEXTS = ("text", "thinking")
"""Fields that grow by characters; the input of a tool does too, as JSON text."""

DELTA_TYPES = {
    "text": ("text_delta", "text"),
    "thinking": ("thinking_delta", "thinking"),
    "signature": ("signature_delta", "signature"),
    "input": ("input_json_delta", "partial_json"),
    "citations": ("citations_delta", "citation"),
}
"""Field of a block -> type of its delta, and the field of the delta that carries the piece."""

FIELDS = {kind: (field, carrier) for field, (kind, carrier) in DELTA_TYPES.items()}

COMPACTION = "compaction"
COMPACTED = ("content", "encrypted_content")
"""Fields of a compaction block that its one delta sets."""

_JSON_STYLES: tuple[tuple[tuple[str, str], bool], ...] = (
    ((", ", ": "), False),
    ((",", ":"), False),
    ((", ", ": "), True),
    ((",", ":"), True),
)
"""Separators, and whether only ASCII is used: how models and servers write the input of a tool."""


def takes_input(block: JsonObject) -> bool:
    """Whether the block is a tool call: its input is streamed as JSON text."""
    kind = block.get("type")
    return isinstance(kind, str) and kind.endswith("tool_use") and isinstance(block.get("input"), dict)


def start_of(block: JsonObject) -> JsonObject:
    """Return `block` as `content_block_start` has it before anything grows."""
    start = dict(block)
    match block.get("type"):
        case "text":
            start["text"] = ""
            if isinstance(block.get("citations"), list):
                start["citations"] = []
        case "thinking":
            start["thinking"] = ""
            if "signature" in block:
                start["signature"] = ""
        case "compaction":
            start.update((field, None) for field in COMPACTED if field in block)
        case _ if takes_input(block):
            start["input"] = {}
    return start


def needed(block: JsonObject, start: JsonObject) -> Iterator[tuple[str, int]]:
    """Yield the fields that deltas must fill in, with the characters or items they must give; -1 means: set."""
    for field in TEXTS:
        whole, begun = block.get(field), start.get(field)
        if isinstance(whole, str) and isinstance(begun, str):
            yield field, len(whole) - len(begun)
    whole, begun = block.get("citations"), start.get("citations")
    if isinstance(whole, list):
        yield "citations", len(whole) - (len(begun) if isinstance(begun, list) else 0)
    if block.get("signature") != start.get("signature"):
        yield "signature", -1
    if block.get("type") == COMPACTION and any(block.get(field) != start.get(field) for field in COMPACTED):
        yield COMPACTION, -1


def input_text(value: Any, style: int) -> str:
    """Return the input of a tool as JSON text in one of the known styles."""
    separators, ascii_only = _JSON_STYLES[style if 0 <= style < len(_JSON_STYLES) else 0]
    return json.dumps(value, separators=separators, ensure_ascii=ascii_only)


def style_of(text: str, value: Any) -> int | None:
    """Return the style in which `value` gives `text`; None if there is none."""
    if not text and value == {}:
        return 0
    return next((style for style in range(len(_JSON_STYLES)) if input_text(value, style) == text), None)
