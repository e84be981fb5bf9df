"""Why a value cannot be stored, and the ways out, for messages to the author of the code that made it."""

from __future__ import annotations

import datetime
import decimal
import functools
import math
import uuid
from typing import Any, Final, NamedTuple

from cachecore.encoding.plain import SCALARS, type_name

_MOST_PARTS: Final = 10_000
"""Parts of a value that are looked at."""
_EXTENDED: Final = frozenset(
    {
        tuple, set, frozenset, complex, datetime.datetime, datetime.date, datetime.time, datetime.timedelta,
        decimal.Decimal, uuid.UUID,
    }
)  # fmt: skip
"""Classes that are no plain data and that the serializer `extended` keeps."""
_INTS: Final = range(-(2**63), 2**64)


class Part(NamedTuple):
    """A part of a value that a serializer does not keep."""

    path: str
    kind: str
    """Its type, with the reason where the type itself is plain."""
    extended: bool
    """Whether the serializer `extended` keeps it."""
    declared: bool
    """Whether it may be kept where its type is declared."""


def unstorable(value: Any, serializer: str) -> str:
    """Return the type that `serializer` cannot store, where in the value it is, and the way out. Quotes no value."""
    part = odd_part(value, json="json" in serializer)
    place = "" if part is None else f" ({part.path} is a {part.kind})"
    ways = []
    if "typed-" in serializer:
        ways.append("Its declared type does not keep it as it is: declare another")
    elif part is None or part.declared:
        ways.append(
            f"Declare its type by a return annotation, or with value_type=…, which says what hinders{_needed()}"
        )
    if part is not None and part.extended and "extended" not in serializer:
        ways.append("choose serializer='extended', which keeps it")
    ways.append("return plain data")
    advice = ", or ".join(ways)
    return f"a {type_name(type(value))} cannot be stored by {serializer}{place}. {advice[0].upper()}{advice[1:]}"


@functools.cache
def _needed() -> str:
    """Return what is to be installed before a declared type counts; nothing if it is there."""
    try:
        import msgspec  # noqa: F401 - looked for, not used
    except ImportError:
        return " (of other types than pydantic models after pip install 'cachecore-framework[struct]')"
    return ""


def odd_part(value: Any, *, json: bool = False) -> Part | None:
    """Return the first part of `value` that is not kept as plain data, as JSON if `json`; None if there is none.

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
                    return Part(f"a key of {path}", type_name(type(key)), type(key) in _EXTENDED | SCALARS, True)
                parts.append((f"{path}.{key if key.isidentifier() and len(key) <= 64 else f'<key {i}>'}", item))
        elif kind not in SCALARS:
            return Part(path, type_name(kind), kind in _EXTENDED, True)
        elif (flaw := _flaw(one, json)) is not None:
            return Part(path, flaw, kind is not str, json)
        if len(parts) > _MOST_PARTS:
            return None
    return None


def _flaw(one: Any, json: bool) -> str | None:
    """Return the type of a scalar that its type alone does not make storable, and why; None if there is no fault."""
    if isinstance(one, int) and one not in _INTS and not json:
        return "int of more than 64 bits"
    if isinstance(one, str) and not one.isascii():
        try:
            one.encode()
        except UnicodeEncodeError:
            return "str with a lone surrogate"
    if json and isinstance(one, float) and not math.isfinite(one):
        return "float that is no finite number"
    return "bytes, which JSON does not have" if json and isinstance(one, bytes) else None
