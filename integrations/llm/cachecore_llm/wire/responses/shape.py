"""The events of a streamed response, and the place in the body that each of them changes.

A slot is an event's type without `response.`, the index of its item, and, where it has them, the index of its part and
of its annotation: `output_text.delta:0:0`. What begins empty and fills up is written here as it begins; where a server
begins otherwise, the difference is kept beside the pieces.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from cachecore_llm.wire.call import JsonObject
from cachecore_llm.wire.facts import as_object, as_objects

PREFIX = "response."
LOGPROBS = "logprobs"
NAMED = "function_call_arguments"
"""Parts that grow with events; the last event may repeat the name of the tool: OpenAI's do, its SDK's type does not."""

BEGINNING = ("created", "queued", "in_progress")
ENDING = ("completed", "failed", "incomplete")

Where = Literal["item", "content", "summary"]


class Growth(NamedTuple):
    """A text that comes in deltas: whether it belongs to the item or to one of its parts, and its field there."""

    where: Where
    field: str


GROWTHS = {
    "output_text": Growth("content", "text"),
    "refusal": Growth("content", "refusal"),
    "reasoning_text": Growth("content", "text"),
    "reasoning_summary_text": Growth("summary", "text"),
    "function_call_arguments": Growth("item", "arguments"),
    "mcp_call_arguments": Growth("item", "arguments"),
    "custom_tool_call_input": Growth("item", "input"),
    "code_interpreter_call_code": Growth("item", "code"),
}
"""Type of an event without `response.` and `.delta` or `.done` -> its text."""

PARTS: dict[str, Where] = {"content_part": "content", "reasoning_summary_part": "summary"}

ANNOTATION = "output_text.annotation.added"

INDEX: dict[Where, str] = {"content": "content_index", "summary": "summary_index"}

STATES = frozenset(
    f"{kind}.{state}"
    for kind, states in {
        "web_search_call": ("in_progress", "searching", "completed"),
        "file_search_call": ("in_progress", "searching", "completed"),
        "code_interpreter_call": ("in_progress", "interpreting", "completed"),
        "image_generation_call": ("in_progress", "generating", "completed"),
        "mcp_call": ("in_progress", "completed", "failed"),
        "mcp_list_tools": ("in_progress", "completed", "failed"),
        "compaction": ("compacting",),
    }.items()
    for state in states
)
"""Events that say only how far an item is."""

UNREPEATABLE = frozenset(
    {
        "image_generation_call.partial_image",
        *(f"shell_call_command.{step}" for step in ("added", "delta", "done")),
        *(f"shell_call_output_content.{step}" for step in ("delta", "done")),
    }
)
"""Events of known meaning that the body cannot give back; the body itself is whole all the same."""

_BEGINS: dict[str, JsonObject] = {
    "message": {"status": "in_progress", "content": []},
    "reasoning": {"status": "in_progress", "summary": [], "content": []},
    "function_call": {"status": "in_progress", "arguments": ""},
    "mcp_call": {"status": "in_progress", "arguments": "", "output": None},
    "custom_tool_call": {"status": "in_progress", "input": ""},
    "code_interpreter_call": {"status": "in_progress", "code": "", "outputs": None},
    "web_search_call": {"status": "in_progress"},
    "file_search_call": {"status": "in_progress", "queries": [], "results": None},
    "image_generation_call": {"status": "in_progress", "result": None},
}
_BEGINS_WITHOUT = {"web_search_call": ("action",)}


def begun_response(body: JsonObject, kind: str) -> JsonObject:
    """Return a response as the event `kind` of BEGINNING has it."""
    status = "queued" if kind == "queued" else "in_progress"
    begun: JsonObject = {"status": status, "output": [], "usage": None, "completed_at": None}
    return {**body, **{key: value for key, value in begun.items() if key in body}}


def begun_item(item: JsonObject) -> JsonObject:
    """Return an item as `output_item.added` has it."""
    kind = str(item.get("type"))
    without = _BEGINS_WITHOUT.get(kind, ())
    begun = {key: value for key, value in item.items() if key not in without}
    begun.update((key, value) for key, value in _BEGINS.get(kind, {}).items() if key in item)
    return begun


def begun_part(part: JsonObject) -> JsonObject:
    """Return a part of an item as it is added."""
    begun = dict(part)
    for key in ("text", "refusal"):
        if isinstance(part.get(key), str):
            begun[key] = ""
    for key in ("annotations", "logprobs"):
        if isinstance(part.get(key), list):
            begun[key] = []
    return begun


def difference(guess: JsonObject, real: JsonObject) -> list[Any]:
    """Return the fields to set in `guess` and to remove from it to get `real`."""
    changed = {key: value for key, value in real.items() if key not in guess or guess[key] != value}
    return [changed, [key for key in guess if key not in real]]


def applied(guess: JsonObject, change: Any) -> JsonObject:
    """Return `guess` with a `difference` applied to it."""
    match change:
        case [dict() as changed, list() as absent]:
            return {**{key: value for key, value in guess.items() if key not in absent}, **changed}
    return guess


def item_at(body: JsonObject, place: int) -> JsonObject:
    """Return an item of a response, an empty object if there is none."""
    items = as_objects(body.get("output"))
    return items[place] if 0 <= place < len(items) else {}


def part_at(item: JsonObject, where: Where, place: int) -> JsonObject:
    """Return the item itself or one of its parts, an empty object if there is none."""
    if where == "item":
        return item
    parts = item.get(where)
    return as_object(parts[place]) if isinstance(parts, list) and 0 <= place < len(parts) else {}
