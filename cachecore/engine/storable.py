"""Why a value cannot be stored, and the ways out, for messages to the author of the code that made it."""

from __future__ import annotations

from typing import Any

from cachecore.encoding.plain import type_name
from cachecore.engine.odd_part import odd_part


def unstorable(value: Any, serializer: str) -> str:
    """Return the type that `serializer` cannot store, where in the value it is, and the way out. Quotes no value."""
    part = odd_part(value)
    place = "" if part is None else f" ({part[0]} is a {part[1]})"
    return (
        f"a {type_name(type(value))} cannot be stored by {serializer}{place}. Declare its type "
        "with value_type=… or by a return annotation, or return plain data"
    )
