"""Fields that an application takes out of the key: by name, or by a path such as `messages[*].id`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from cachecore_llm.wire.call import JsonObject, ProtocolName

_PATH: Final = re.compile(r"[\w-]+(?:\[\*\])?(?:\.[\w-]+(?:\[\*\])?)*")
_PLAIN_FIELDS: Final = frozenset({"system_prompt", "user_message", "context", "params"})

Path = tuple[str, ...]
"""Names of fields; `*` stands for each entry of a list."""


def path_of(text: object) -> Path:
    """Return the path that `text` means. Raises ValueError if it is none."""
    if not isinstance(text, str) or not _PATH.fullmatch(text):
        raise ValueError(f"a field to ignore is a name or a path such as 'messages[*].id', not {text!r}")
    return tuple(step for part in text.split(".") for step in (part.removesuffix("[*]"), "*")[: 1 + part.endswith("]")])


def without(protocol: ProtocolName, request: JsonObject, paths: Iterable[Path]) -> JsonObject:
    """Return the value to key without the fields at `paths` of its body. Parts are shared with `request`."""
    body = request["body"]
    for path in paths:
        inside = protocol == "plain" and path[0] not in _PLAIN_FIELDS
        body = _without(body, ("params", *path) if inside else path)
    return {**request, "body": body}


def _without(value: Any, path: Path) -> Any:
    head, rest = path[0], path[1:]
    if head == "*":
        return [_without(one, rest) for one in value] if isinstance(value, list) and rest else value
    if not isinstance(value, dict) or head not in value:
        return value
    if not rest:
        return {name: inner for name, inner in value.items() if name != head}
    return {**value, head: _without(value[head], rest)}
