"""What stands for a value that is not plain data: the equalities and differences of the canonical encoding.

Plain data (None, bool, int of 64 bits, float, str, bytes, list, tuple, dict with str keys) is written as it is. Every
other type either *folds* into a simpler value, to which it is then equal (a record into the dict of its fields, an
enum into its value, a subclass of str into str), or becomes a *tagged* value, which is equal to nothing else.

Subclasses of tagged types are refused: what they add (the nanoseconds of a pandas Timestamp) would be lost.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cached_property, partial
from operator import attrgetter
from pathlib import Path, PosixPath, PurePath, PurePosixPath, PureWindowsPath, WindowsPath
from types import MappingProxyType, MemberDescriptorType
from typing import Any, Final, NamedTuple
from uuid import UUID
from weakref import WeakKeyDictionary

import ormsgpack

SET: Final = 1
INTEGER: Final = 2
UUID_: Final = 3
DECIMAL: Final = 4
DATE: Final = 5
TIME: Final = 6
DATETIME: Final = 7
DURATION: Final = 8
PATH: Final = 9

OFFSET_MARK: Final = "@"
"""Comes before the offset of an aware time, in microseconds."""
FOLD_MARK: Final = ";fold"
"""Ends a naive time that means the second of two equal wall clocks."""

_WAYS_OUT: Final = "; give it a __cachecore_key__ method, or convert it to plain data"
_MICROSECOND: Final = timedelta(microseconds=1)


class Refused(Exception):  # noqa: N818 - never leaves this package
    """A value has no canonical form; `args[0]` is the reason, free of the value itself."""


class Form(NamedTuple):
    """How one type is written: `make` gives a tagged value, or a simpler one that is encoded in its stead."""

    tagged: bool
    make: Callable[[Any], Any]


class SetMark:
    """What a set's list begins with; becomes a tag that no user's value can make."""

    __slots__ = ()


SET_MARK: Final = SetMark()


@dataclasses.dataclass(frozen=True, slots=True)
class Members:
    """A set as it was encoded: its members in the order of their bytes, which need not be hashable here."""

    items: tuple[Any, ...]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


SETS: Final = frozenset({set, frozenset, Members})


def name_of(kind: type) -> str:
    """Return how messages call a type, such as `PIL.Image.Image`."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _integer(value: int) -> ormsgpack.Ext:
    return ormsgpack.Ext(INTEGER, value.to_bytes((value.bit_length() + 8) // 8, "big", signed=True))


def _decimal(value: Decimal) -> ormsgpack.Ext:
    # From the parts: text depends on the context's `capitals`. 1.0 and 1.00 differ, as their text does.
    sign, digits, exponent = value.as_tuple()
    return ormsgpack.Ext(DECIMAL, f"{sign} {''.join(map(str, digits))} {exponent}".encode())


def _clock(tag: int, value: datetime | time) -> ormsgpack.Ext:
    """Return wall clock and offset: equal instants in two zones differ, since an answer may speak of either hour."""
    offset = value.utcoffset()
    if value.tzinfo is not None and offset is None:
        raise Refused(f"cannot key a {name_of(type(value))} whose time zone gives no offset")
    text = value.replace(tzinfo=None, fold=0).isoformat()
    if offset is not None:  # it says what a fold says
        text += f"{OFFSET_MARK}{offset // _MICROSECOND}"
    elif value.fold:
        text += FOLD_MARK
    return ormsgpack.Ext(tag, text.encode())


def _duration(value: timedelta) -> ormsgpack.Ext:
    return ormsgpack.Ext(DURATION, b"%d" % (value // _MICROSECOND))


def _path(value: PurePath) -> ormsgpack.Ext:
    try:
        return ormsgpack.Ext(PATH, value.as_posix().encode())
    except UnicodeEncodeError:
        raise Refused("cannot key a path that is not valid text") from None


_TAGGED: Final[dict[type, Callable[[Any], Any]]] = {
    int: _integer,
    UUID: lambda value: ormsgpack.Ext(UUID_, value.bytes),
    Decimal: _decimal,
    date: lambda value: ormsgpack.Ext(DATE, value.isoformat().encode()),
    time: partial(_clock, TIME),
    datetime: partial(_clock, DATETIME),
    timedelta: _duration,
    SetMark: lambda _: ormsgpack.Ext(SET, b""),
    **dict.fromkeys((PurePath, PurePosixPath, PureWindowsPath, Path, PosixPath, WindowsPath), _path),
}

# What inherits from these counts as these: numpy's float64, its str_, and subclasses that only add methods. The base
# class's own methods are used, because a subclass may have overridden them.
_FOLDED: Final[tuple[tuple[type, Callable[[Any], Any]], ...]] = (
    (str, str.__str__),
    (bytes, lambda value: bytes(memoryview(value))),
    (bytearray, lambda value: bytes(memoryview(value))),
    (int, int.__index__),
    (float, float.__float__),
    (dict, lambda value: dict(dict.items(value))),
    (list, lambda value: [*list.__iter__(value)]),
    (tuple, lambda value: [*tuple.__iter__(value)]),
)


def _view(value: memoryview) -> bytes:
    try:
        return value.tobytes()
    except ValueError:
        raise Refused("cannot key a memoryview that was released") from None


_MISSING: Final = object()


def _set_attributes(names: Iterable[str], value: Any) -> dict[str, Any]:
    """Return the named attributes of `value` that are set; a field never set is a missing one."""
    found = {name: getattr(value, name, _MISSING) for name in names}
    return {name: field for name, field in found.items() if field is not _MISSING}


def _attributes(names: tuple[str, ...]) -> Callable[[Any], dict[str, Any]]:
    """Return what gives the dict of the attributes `names`, read at C speed where all of them are set."""
    if len(names) < 2:  # attrgetter then gives no tuple
        return partial(_set_attributes, names)
    read = attrgetter(*names)

    def attributes(value: Any) -> dict[str, Any]:
        try:
            return dict(zip(names, read(value), strict=True))
        except AttributeError:
            return _set_attributes(names, value)

    return attributes


def _struct(kind: Any) -> Callable[[Any], dict[str, Any]]:
    """Return what gives the dict of the fields of a msgspec struct, its tag among them, unset fields left out."""
    from msgspec import UNSET

    config = kind.__struct_config__
    tag = {} if config.tag is None else {config.tag_field: config.tag}
    read = _attributes(kind.__struct_fields__)

    def fields(value: Any) -> dict[str, Any]:
        found = {**tag, **read(value)}
        return {name: field for name, field in found.items() if field is not UNSET}

    return fields


def _pydantic(names: tuple[str, ...], value: Any) -> dict[str, Any]:
    # From the instance: cached properties live there too and are no fields; private attributes are no part of it.
    held = vars(value)
    fields = {name: held[name] for name in names if name in held}
    extra = getattr(value, "__pydantic_extra__", None)
    return {**extra, **fields} if extra else fields


def _old_pydantic(value: Any) -> dict[str, Any]:
    # Fields and extras, and what cached properties keep.
    fields = dict(vars(value))
    for name in fields.keys() - value.__fields_set__ - type(value).__fields__.keys():
        if isinstance(getattr(type(value), name, None), cached_property):
            del fields[name]
    return fields


def _declared(kind: type, mark: str, names: tuple[str, ...]) -> Callable[[Any], dict[str, Any]]:
    """Return what gives the dict of the fields `names`, which the class that holds `mark` has declared.

    A class that only inherits them may add attributes that nobody has declared: they would be lost.
    """
    read = _attributes(names)
    if mark in vars(kind):
        return read
    below = kind.__mro__[: next(i for i, parent in enumerate(kind.__mro__) if mark in vars(parent))]
    slots = [name for parent in below for name, held in vars(parent).items() if type(held) is MemberDescriptorType]

    def fields(value: Any) -> dict[str, Any]:
        held = {*getattr(value, "__dict__", ()), *(name for name in slots if hasattr(value, name))}
        for name in sorted(held.difference(names)):
            if not (name.startswith("__") or isinstance(getattr(kind, name, None), cached_property)):
                raise Refused(f"cannot key a {name_of(kind)}, whose {name} is no field{_WAYS_OUT}")
        return read(value)

    return fields


def _record(kind: type) -> Callable[[Any], dict[str, Any]] | None:
    """Return what gives the dict of the fields of an instance of `kind`, if it is some kind of record."""
    if dataclasses.is_dataclass(kind):
        return _declared(kind, "__dataclass_fields__", tuple(field.name for field in dataclasses.fields(kind)))
    if hasattr(kind, "__struct_config__"):
        return _struct(kind)
    if hasattr(kind, "__pydantic_validator__"):
        names = getattr(kind, "__pydantic_fields__", None) or getattr(kind, "model_fields", {})
        return partial(_pydantic, tuple(names))
    if hasattr(kind, "__fields__") and hasattr(kind, "__private_attributes__"):
        return _old_pydantic
    attributes = getattr(kind, "__attrs_attrs__", None)
    if attributes is not None:
        return _declared(kind, "__attrs_attrs__", tuple(attribute.name for attribute in attributes))
    return None


def _form_of(kind: type) -> Form:
    # Not hasattr, which would ask the metaclass too.
    if any("__cachecore_key__" in vars(parent) for parent in kind.__mro__):
        return Form(False, lambda value: value.__cachecore_key__())
    if issubclass(kind, enum.Enum):
        return Form(False, lambda value: value._value_)
    record = _record(kind)
    for parent, fold in _FOLDED:
        if issubclass(kind, parent):
            if record is not None:
                raise Refused(f"cannot key a {name_of(kind)}, which is a record and a {parent.__name__} at once")
            return Form(False, fold)
    if record is not None:
        return Form(False, record)
    if kind is memoryview:
        return Form(False, _view)
    if kind is MappingProxyType:
        return Form(False, dict)
    raise Refused(f"cannot key a {name_of(kind)}{_advice(kind)}")


def _advice(kind: type) -> str:
    if kind.__module__.partition(".")[0] == "numpy":
        return "; use .item() or .tolist()"
    for parent in kind.__mro__:  # the nearest first: a datetime is a date too
        if parent in _TAGGED or parent in SETS:
            return f", a subclass of {parent.__name__}; convert it, or give it a __cachecore_key__ method"
    return _WAYS_OUT


_TAGGED_FORMS: Final = {kind: Form(True, make) for kind, make in _TAGGED.items()}
# Weak, because a class made inside a function holds on to whatever that function had.
_seen: Final[WeakKeyDictionary[type, Form]] = WeakKeyDictionary()


def form_of(kind: type) -> Form:
    """Return how values of exactly `kind` are written; not for plain types and sets.

    Raises:
        Refused: they cannot be.
    """
    form = _TAGGED_FORMS.get(kind) or _seen.get(kind)
    if form is None:
        form = _seen[kind] = _form_of(kind)
    return form
