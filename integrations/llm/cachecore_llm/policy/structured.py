"""Whether an answer is the JSON that was asked for, and whether a tool call can be run."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any, Final, Literal, NoReturn

import msgspec

from cachecore_llm.wire.call import JsonObject, RequestFacts
from cachecore_llm.wire.facts import ToolCallFacts

_NAMED_KINDS: Final = frozenset({"function", "custom", "tool_use", "function_call", "custom_tool_call"})
"""Kinds of tool calls that name the tool. Others (`computer_call`) are themselves the name."""
_JSON_KINDS: Final = frozenset({"function", "tool_use", "function_call"})
"""Kinds of tool calls with a JSON object as arguments; a custom tool takes free text."""

_BACKTRACK_LIMIT: Final = 10_000
_MAX_ERROR_FIELDS: Final = 4

UNREADABLE: Final = object()
"""The result of `parsed` for text that is no JSON."""


def parsed(text: str) -> Any:
    """Return the JSON value in `text`, or UNREADABLE. NaN and infinities are no JSON. O(length)."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
        pass
    try:  # msgspec does not read all JSON: not 1e400, and no lone surrogates, which UTF-8 cannot carry
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return UNREADABLE


def json_fault(text: str, request: RequestFacts) -> Literal["invalid_json", "off_schema", "error_text"] | None:
    """Return why `text` is not the JSON that `request` asks for, None if it is."""
    value = parsed(text)
    if value is UNREADABLE:
        return "invalid_json"
    fits = None if request.schema is None else _fits(value, request.schema)
    if fits is False:
        return "off_schema"
    # A schema may well have a field `error`: an answer that fits it was asked for.
    return "error_text" if fits is None and is_error_object(value) else None


def is_runnable(call: ToolCallFacts, request: RequestFacts) -> bool:
    """Whether the caller can run a tool call: it names its tool, and its arguments are an object where they must be.

    Some models call a tool that requires no arguments with empty text in place of `{}`. Calls that the provider ran
    itself are not judged.
    """
    if not call.by_caller:
        return True
    if call.kind in _NAMED_KINDS and not (call.name and call.name.strip()):
        return False
    if call.kind not in _JSON_KINDS or isinstance(parsed(call.arguments), dict):
        return True
    offers = [tool for tool in request.tools if tool.name == call.name]
    return not call.arguments.strip() and bool(offers) and not any(tool.needs_arguments for tool in offers)


def is_error_object(value: Any) -> bool:
    """Whether a JSON value is the body of an API's error: an object of little more than a filled `error`."""
    return (
        isinstance(value, dict)
        and bool(value.get("error"))
        and len(value) <= _MAX_ERROR_FIELDS
        and "choices" not in value
    )


def _fits(value: Any, schema: JsonObject) -> bool | None:
    """Whether `value` fits `schema`; None if the schema itself is faulty or refers to another document."""
    try:
        written = msgspec.json.encode(schema)
    except (TypeError, ValueError, RecursionError):  # no JSON that UTF-8 can carry
        return None
    validator = _validator(written)
    if validator is None:
        return None
    try:
        return bool(validator.is_valid(value))
    except (ValueError, RecursionError):  # nested too deeply to be judged
        return None


@lru_cache(256)
def _validator(schema: bytes) -> Any:
    """Return a validator for a schema; None for a faulty one. Nothing is fetched, no pattern runs for long."""
    import jsonschema_rs  # where it is needed: most requests ask for no schema

    try:
        return jsonschema_rs.validator_for(
            msgspec.json.decode(schema),
            offline=True,
            pattern_options=jsonschema_rs.FancyRegexOptions(backtrack_limit=_BACKTRACK_LIMIT),
        )
    except ValueError:
        return None


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)
