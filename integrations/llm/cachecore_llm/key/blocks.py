"""Messages, content blocks and tools as they are keyed: without marks, media by content, ids by their names.

Only fields that hold blocks or tools are looked into. The arguments and results of a tool are data, and stay as they
are: a tool may well have an argument called `cache_control`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from cachecore_llm.key.ids import Names
from cachecore_llm.key.media import base64_by_content, by_content
from cachecore_llm.key.schemas import ordered
from cachecore_llm.key.secret_fields import Digester
from cachecore_llm.wire.call import JsonObject

MARKS: Final = frozenset({"cache_control", "prompt_cache_breakpoint"})
"""Fields that mark a place for the provider's prompt cache."""

_BLOCKS: Final = frozenset({"content", "output", "tool_changes", "tool_references"})
_URLS: Final = frozenset({"image_url", "audio_url", "video_url"})
_SCHEMAS: Final = frozenset({"input_schema", "output_schema", "parameters"})
_INNER: Final = frozenset({"definition", "function"})
_FORMS: Final = frozenset({"format", "json_schema"})


class Blocks:
    """The parts of one body."""

    __slots__ = ("_digester", "_names")

    def __init__(self, names: Names, digester: Digester) -> None:
        self._names = names
        self._digester = digester

    def messages(self, value: Any) -> Any:
        """Return a list of messages, of items or of blocks, or a text."""
        return _each(value, self._block)

    def tools(self, value: Any) -> Any:
        """Return a list of tools, or of servers that offer tools."""
        return _each(value, self._tool)

    def variables(self, prompt: Any) -> Any:
        """Return a prompt that the provider keeps, with the values for its variables."""
        given = prompt.get("variables") if isinstance(prompt, dict) else None
        if not isinstance(given, dict):
            return prompt
        return {**prompt, "variables": {name: self._typed(value) for name, value in given.items()}}

    def _block(self, block: JsonObject) -> JsonObject:
        made = {field: self._part(field, self._names.at(block, field)) for field in block if field not in MARKS}
        return _with(made, "result", base64_by_content) if made.get("type") == "image_generation_call" else made

    def _part(self, field: str, value: Any) -> Any:
        """Return a field of a message or block."""
        if field in _BLOCKS:
            return _each(value, self._typed) if isinstance(value, list) else self._typed(value)
        if field in _URLS:
            return _with(value, "url", by_content) if isinstance(value, dict) else by_content(value)
        if field == "input_audio":
            return _with(value, "data", base64_by_content)
        if field == "file":
            return _with(value, "file_data", base64_by_content)
        if field == "file_data":
            return base64_by_content(value)
        if field == "source":
            is_base64 = isinstance(value, dict) and value.get("type") == "base64"
            return _with(value, "data", base64_by_content) if is_base64 else _with(value, "content", self.messages)
        if field in ("tool_calls", "caller"):
            return _each(value, self._named) if isinstance(value, list) else self._named(value)
        if field == "tools":
            return self.tools(value)
        return self._tool(value) if field == "tool" and isinstance(value, dict) else value

    def _typed(self, value: Any) -> Any:
        """Return a block, known by its type; data of a tool's own has none."""
        return self._block(value) if isinstance(value, dict) and isinstance(value.get("type"), str) else value

    def _named(self, value: Any) -> Any:
        return {field: self._names.at(value, field) for field in value} if isinstance(value, dict) else value

    def _tool(self, tool: JsonObject) -> JsonObject:
        made = self._digester.hide({field: value for field, value in tool.items() if field not in MARKS})
        for field in _SCHEMAS & made.keys():
            made[field] = ordered(made[field])
        for field in _INNER & made.keys():
            made[field] = _each([made[field]], self._tool)[0]
        if "tools" in made:
            made["tools"] = self.tools(made["tools"])
        if "input_image_mask" in made:
            made["input_image_mask"] = _with(made["input_image_mask"], "image_url", by_content)
        return made


def form(value: Any) -> Any:
    """Return a field that asks for a form of the answer: the order in its schema counts."""
    if not isinstance(value, dict):
        return value
    return {
        field: ordered(inner) if field == "schema" else form(inner) if field in _FORMS else inner
        for field, inner in value.items()
    }


def _each(value: Any, change: Callable[[JsonObject], Any]) -> Any:
    return [change(one) if isinstance(one, dict) else one for one in value] if isinstance(value, list) else value


def _with(value: Any, field: str, change: Callable[[Any], Any]) -> Any:
    """Return an object with one field changed; any other value as it is."""
    return {**value, field: change(value[field])} if isinstance(value, dict) and field in value else value
