"""JSON objects to and from text, as the SDKs read them, and never nested so deeply that a walk could fail."""

from __future__ import annotations

import json
from typing import Any

import msgspec

MAX_DEPTH = 100
"""Objects and lists inside each other. Everything here walks a value with a call for each level."""


class UnreadableStreamError(ValueError):
    """A stream or a body cannot be read: bytes that are no server-sent events, or data that is no JSON object.

    The text gives sizes and types, never content. Such an answer can be passed on; it cannot be recorded.
    """


def dump(value: Any) -> bytes:
    """Return a JSON value on one line. NaN and infinities, which JSON has not, become null."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:  # a lone surrogate, which UTF-8 cannot carry
        return json.dumps(value, separators=(",", ":")).encode()


def dump_text(value: Any) -> str:
    """Return the JSON of `dump` as text."""
    return dump(value).decode()


def load(data: str | bytes) -> dict[str, Any]:
    """Return the JSON object in `data`, read as `json.loads` does. Raises UnreadableStreamError."""
    try:
        value = msgspec.json.decode(data)
    except (msgspec.MsgspecError, RecursionError):
        value = _load_loosely(data)
    if not isinstance(value, dict):
        raise UnreadableStreamError(f"the data is a JSON {type(value).__name__}, not an object")
    brackets = data.count(b"{") + data.count(b"[") if isinstance(data, bytes) else data.count("{") + data.count("[")
    if brackets > MAX_DEPTH and _is_deep(value):
        raise UnreadableStreamError(f"the data is nested more than {MAX_DEPTH} deep")
    return value


def _load_loosely(data: str | bytes) -> Any:
    """Read text that the SDKs read although it is no JSON, or none that UTF-8 can carry: NaN, 1e999, surrogates."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise UnreadableStreamError(f"data of a length of {len(data)} is no JSON") from None


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True
