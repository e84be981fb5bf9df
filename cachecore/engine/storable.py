"""Why a value cannot be stored, and the ways out, for messages to the author of the code that made it."""

from __future__ import annotations

from typing import Any, Final

from cachecore.encoding.plain import SCALARS, type_name

_MOST_PARTS: Final = 10_000
"""Parts of a value that are looked at."""


def unstorable(value: Any, serializer: str) -> str:
    """Return the type that `serializer` cannot store, where in the value it is, and the way out. Quotes no value."""
    part = odd_part(value)
    place = "" if part is None else f" ({part[0]} is a {part[1]})"
    return (
        f"a {type_name(type(value))} cannot be stored by {serializer}{place}. Declare its type "
        "with value_type=… or by a return annotation, or return plain data"
    )


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
