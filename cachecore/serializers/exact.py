"""Whether what was read back is what was written, type for type.

`==` is not enough: 1 == True == 1.0, and a subclass of a dataclass may equal its parent. Used by the typed serializer
each time it writes, because a type's own encoder may drop, convert or default what it was given.
"""

from __future__ import annotations

import dataclasses
import struct
from typing import Any, Final

_ATOMS: Final = frozenset({type(None), bool, int, str, bytes})


def same(written: Any, read: Any) -> bool:
    """Return whether two values are equal in every part and of the same types. NaNs are the same if their bits are."""
    kind = type(written)
    if kind is not type(read):
        return False
    if kind in _ATOMS:
        return bool(written == read)
    if kind is float:
        return struct.pack("d", written) == struct.pack("d", read)
    if isinstance(written, dict):
        return len(written) == len(read) and all(
            same(key, other_key) and same(value, other)
            for (key, value), (other_key, other) in zip(written.items(), read.items(), strict=True)
        )
    if isinstance(written, list | tuple):
        return len(written) == len(read) and all(map(same, written, read))
    fields = _fields(written)
    if fields is None:
        return bool(written == read)
    others = _fields(read)
    return others is not None and same(fields, others)


def _fields(value: Any) -> dict[str, Any] | None:
    """Return what an object of fields holds, or None if it is something else."""
    cls = type(value)
    if hasattr(cls, "__pydantic_fields_set__"):  # a model, not one of pydantic's dataclasses
        # What was set and what was defaulted is not compared: it changes no answer.
        return {**value.__dict__, **(value.__pydantic_extra__ or {}), **(value.__pydantic_private__ or {})}
    names = getattr(cls, "__struct_fields__", None)  # msgspec
    if names is None and dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
    if names is None:
        return None
    held = {name: getattr(value, name, None) for name in names}
    return held | getattr(value, "__dict__", {})
