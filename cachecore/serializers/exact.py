"""Whether a value that was read back equals the written one, type for type.

`==` is not enough: 1 == True == 1.0, a subclass of a dataclass may equal its parent, and two times are equal if they
are the same instant, also in different zones. Used by the typed serializer each time it writes, because a type's own
encoder may drop, convert or default its input.
"""

from __future__ import annotations

import dataclasses
import struct
from collections import deque
from datetime import datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any, Final

from cachecore.serializers.arrays import is_array_class, same_arrays

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
    if kind is complex:
        return same(written.real, read.real) and same(written.imag, read.imag)
    if is_array_class(kind):
        return same_arrays(written, read)
    if isinstance(written, dict):
        made = getattr(written, "default_factory", None) is getattr(read, "default_factory", None)
        return made and len(written) == len(read) and _same_items(written, read)
    if isinstance(written, list | tuple | deque):
        held = getattr(written, "maxlen", None) == getattr(read, "maxlen", None)
        return held and len(written) == len(read) and all(map(same, written, read))
    if isinstance(written, set | frozenset):
        others = {member: member for member in read}
        return len(written) == len(read) and all(
            member in others and same(member, others[member]) for member in written
        )
    if isinstance(written, datetime | time):
        return _same_time(written, read)
    if isinstance(written, Decimal):
        return bool(written.as_tuple() == read.as_tuple())
    fields = _fields(written)
    if fields is None:
        return bool(written == read)
    read_fields = _fields(read)
    return read_fields is not None and same(fields, read_fields)


def _same_items(written: dict[Any, Any], read: dict[Any, Any]) -> bool:
    for (key, value), (other_key, other) in zip(written.items(), read.items(), strict=True):
        if not same(key, other_key):
            return False
        kind = type(value)  # a field of an object is an atom more often than not, which a call need not tell
        if not (kind is type(other) and bool(value == other) if kind in _ATOMS else same(value, other)):
            return False
    return True


def _same_time(written: Any, read: Any) -> bool:
    """Return whether two times show the same on the clock, with the same offset, in the same zone."""
    if written.replace(tzinfo=None) != read.replace(tzinfo=None) or written.fold != read.fold:
        return False
    return bool(written.utcoffset() == read.utcoffset()) and _same_zone(written.tzinfo, read.tzinfo)


def _same_zone(written: tzinfo | None, read: tzinfo | None) -> bool:
    """Return whether two zones are one, or have the same offset at all times, as UTC of two libraries has."""
    if written is None or read is None or written is read:
        return written is read
    fixed = written.utcoffset(None)
    if fixed is None or read.utcoffset(None) != fixed:
        return type(written) is type(read) and bool(written == read)
    return not _named(written, fixed) or written.tzname(None) == read.tzname(None)


def _named(zone: tzinfo, offset: timedelta) -> bool:
    """Return whether a zone of one offset has a name that does not follow from it."""
    return type(zone) is timezone and zone.tzname(None) != timezone(offset).tzname(None)


def _fields(value: Any) -> dict[str, Any] | None:
    """Return the fields and values of a dataclass, model or struct, or None for other objects."""
    cls = type(value)
    if hasattr(cls, "__pydantic_fields_set__"):  # a model, not one of pydantic's dataclasses
        # Whether a field was set or defaulted is not compared: it changes no answer.
        return {**value.__dict__, **(value.__pydantic_extra__ or {}), **(value.__pydantic_private__ or {})}
    names = getattr(cls, "__struct_fields__", None)  # msgspec
    if names is None and dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value)]
    if names is None and hasattr(cls, "__attrs_attrs__"):
        names = [attribute.name for attribute in cls.__attrs_attrs__]
    if names is None:
        return None
    held = {name: getattr(value, name, None) for name in names}
    return held | getattr(value, "__dict__", {})
