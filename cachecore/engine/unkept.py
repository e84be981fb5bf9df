"""The log line about an answer that cannot be stored: one for each function or namespace, with the way out."""

from __future__ import annotations

import logging
from typing import Any, Final

from cachecore.contract.errors import EncodingError
from cachecore.encoding.plain import SCALARS, type_name
from cachecore.engine.scope import Scope

logger = logging.getLogger("cachecore")

_MOST_PARTS: Final = 10_000
"""Parts of a value that are looked at."""
_MOST_NAMES: Final = 10_000


def say_unkept(scope: Scope, value: Any, error: EncodingError) -> None:
    """Log that `value` was returned but not stored, unless the log says that of its function or namespace already."""
    namespace = scope.keys.namespace
    place = f"the function {scope.function}" if scope.function else f"the namespace {namespace!r}"
    said = scope.engine.unkept
    if place in said or len(said) >= _MOST_NAMES:
        return
    said.add(place)
    part = odd_part(value)
    place_in_value = "" if part is None else f" ({part[0]} is a {part[1]})"
    logger.warning(
        "an answer of %s was returned but not stored, and so it is with each like it: a %s cannot be stored%s. "
        "Declare its type with value_type=…, by a return annotation, or return plain data. This is said once",
        place,
        type_name(type(value)),
        place_in_value,
    )
    logger.debug("why it cannot be stored: %s", error)


def odd_part(value: Any) -> tuple[str, str] | None:
    """Return the path and the type of the first part of `value` that is no plain data; None if there is none.

    The path has no keys of dicts but those that are names, as a key may be a prompt.
    """
    parts: list[tuple[str, Any]] = [("value", value)]
    for path, one in parts:  # grows while it is read
        kind = type(one)
        if kind is list:
            parts += [(f"{path}[{i}]", item) for i, item in enumerate(one[:_MOST_PARTS])]
        elif kind is dict:
            for i, (key, item) in enumerate(one.items()):
                if type(key) is not str:
                    return f"a key of {path}", type_name(type(key))
                parts.append((f"{path}.{key if key.isidentifier() and len(key) <= 64 else f'<key {i}>'}", item))
        elif kind not in SCALARS:
            return path, type_name(kind)
        if len(parts) > _MOST_PARTS:
            return None
    return None
