"""The places where text grows in a streamed chat answer, and their names.

A slot of the chat protocol is `usage`, `-` (an event without choices), `0` (choice 0, nothing in it), `0/d/<path>` (a
place in the delta, which is the message of the body) or `0/c/<path>` (a place in the choice beside it). Lists with
indices and objects are walked; text grows by characters, any other list by items, anything else is set at once. Beside
the delta only logprobs grow.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cachecore_llm.wire.pieces import NULL, SET

USAGE, NO_CHOICES = "usage", "-"

ONCE = frozenset({"id", "name", "role", "type", "index", "object", "format", "finish_reason", "native_finish_reason"})
"""Fields with text that never grows. Compatible servers repeat them in each chunk."""

CONSTANT = ("id", "created", "model", "service_tier", "system_fingerprint")
"""Fields that OpenAI puts into every chunk."""

KNOWN = frozenset(
    {
        *("role", "content", "refusal", "tool_calls", "function_call", "audio", "annotations"),
        *("reasoning_content", "reasoning", "reasoning_details", "images"),  # compatible servers
        *("id", "index", "type", "function", "custom", "name", "arguments", "input", "format"),
        *("data", "transcript", "expires_at", "text", "summary", "signature"),
    }
)
"""Known fields of a delta, at any depth."""

CHOICE_KNOWN = frozenset(
    {"finish_reason", "logprobs", "content", "refusal", "content_filter_results", "native_finish_reason"}
)
"""Known fields of a choice beside its delta, and those of its `logprobs`."""


def child(prefix: str, key: str) -> str:
    """Return the slot of `key` below `prefix`, which ends with a slash."""
    if "/" in key or "~" in key:  # as in JSON pointers
        key = key.replace("~", "~0").replace("/", "~1")
    return prefix + key


def path_of(slot: str) -> tuple[str, ...]:
    """Return the parts of a slot."""
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in slot.split("/"))


def is_indexed(entries: list[Any]) -> bool:
    """Whether the entries of a list carry their place, so that later fragments find them."""
    return bool(entries) and all(isinstance(entry, dict) and type(entry.get("index")) is int for entry in entries)


def leaves(value: Any, prefix: str, key: str, *, indexed: bool = False) -> Iterator[tuple[str, int]]:
    """Yield the slots of `value`, found under `key` below `prefix`, each with its size in a body."""
    slot = child(prefix, key)
    if isinstance(value, str) and key not in ONCE:
        yield slot, len(value)
    elif value is None:
        yield slot, NULL
    elif isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from leaves(inner, f"{slot}/", name)
    elif isinstance(value, list) and value and (indexed or is_indexed(value)):
        for place, entry in enumerate(value):
            entries = {name: inner for name, inner in entry.items() if name != "index"}
            if not entries:
                yield f"{slot}/{place}", SET
            for name, inner in entries.items():
                yield from leaves(inner, f"{slot}/{place}/", name)
    elif isinstance(value, list):
        yield slot, len(value)
    else:
        yield slot, SET


def choice_leaves(choice: dict[str, Any], place: int) -> Iterator[tuple[str, int]]:
    """Yield the slots of a choice of a body, the message's first."""
    message = choice.get("message")
    for key, value in (message if isinstance(message, dict) else {}).items():
        calls = key == "tool_calls" and isinstance(value, list) and all(isinstance(call, dict) for call in value)
        yield from leaves(value, f"{place}/d/", key, indexed=calls)
    for key, value in choice.items():
        if key == "logprobs":
            yield from leaves(value, f"{place}/c/", key)
        elif key not in ("index", "message"):
            yield child(f"{place}/c/", key), NULL if value is None else SET
