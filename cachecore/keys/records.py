"""Records and members of an Enum: the class, and the fields by name.

A record is a dataclass, msgspec struct, pydantic model (1 and 2), attrs class or NamedTuple. It is written as parts:
the head holds the class and the names of the fields, sorted, and the values follow in that order. The head of a class
is made once; instances with other fields (unset ones, the extra fields of a pydantic model) get a head of their own.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Iterable
from functools import cached_property
from operator import attrgetter, itemgetter
from types import MemberDescriptorType
from typing import Any, Final

from ormsgpack import Ext

from cachecore.keys.classes import class_name
from cachecore.keys.tags import MEMBER, RECORD, WAYS_OUT, Refused, name_of, named_head

Make = Callable[[Any], list[Any]]
"""Returns the parts of an instance. It must not refer to the class: it is kept as long as the class lives."""

_MISSING: Final = object()


class _Layout:
    """How the instances of one class are written: its name, its usual fields and their head."""

    def __init__(self, kind: type, names: tuple[str, ...]) -> None:
        self.owner = class_name(kind)
        self.names = tuple(sorted(names))
        self.head = named_head(RECORD, self.owner, self.names)

    def reader(self, getter: Callable[..., Any]) -> Callable[[Any], tuple[Any, ...]]:
        """Return a function that reads all usual fields at C speed; `getter` is `attrgetter` or `itemgetter`."""
        if not self.names:
            return lambda _: ()
        read = getter(*self.names)
        return read if len(self.names) > 1 else lambda value: (read(value),)

    def parts(self, fields: dict[str, Any]) -> list[Any]:
        """Return the parts of an instance with other fields than the usual ones."""
        names = sorted(fields)
        return [named_head(RECORD, self.owner, names), *map(fields.__getitem__, names)]

    def set_attributes(self, value: Any) -> dict[str, Any]:
        """Return the usual fields that are set: a field never set is a missing one."""
        fields = ((name, getattr(value, name, _MISSING)) for name in self.names)
        return {name: field for name, field in fields if field is not _MISSING}


def _attributes(layout: _Layout) -> Make:
    read, head = layout.reader(attrgetter), layout.head

    def make(value: Any) -> list[Any]:
        try:
            return [head, *read(value)]
        except AttributeError:
            return layout.parts(layout.set_attributes(value))

    return make


def _struct(kind: Any) -> Make:
    """Read a msgspec struct; its tag is a field, and an unset field is a missing one."""
    from msgspec import UNSET, UnsetType

    layout, config = _Layout(kind, kind.__struct_fields__), kind.__struct_config__
    tag = {} if config.tag is None else {config.tag_field: config.tag}
    make = _attributes(layout)

    def make_all(value: Any) -> list[Any]:
        fields = {**tag, **layout.set_attributes(value)}
        return layout.parts({name: field for name, field in fields.items() if field is not UNSET})

    def make_usual(value: Any) -> list[Any]:
        parts = make(value)
        return make_all(value) if UnsetType in map(type, parts) else parts

    return make_all if tag else make_usual


def _pydantic(kind: Any) -> Make:
    """Read a pydantic model: its fields and extra fields, but neither private attributes nor cached properties."""
    layout = _Layout(kind, tuple(getattr(kind, "__pydantic_fields__", None) or getattr(kind, "model_fields", {})))
    read, head = layout.reader(itemgetter), layout.head

    def make(value: Any) -> list[Any]:
        held = vars(value)  # cached properties live there too
        extra = getattr(value, "__pydantic_extra__", None)
        if not extra:
            try:
                return [head, *read(held)]
            except KeyError:
                extra = {}
        return layout.parts({**extra, **{name: held[name] for name in layout.names if name in held}})

    return make


def _open(kind: Any, names: Iterable[str], given: Callable[[Any], Iterable[str]]) -> Make:
    """Read a class that keeps extra fields beside the declared `names`, but not the values of cached properties there.

    `given` returns the names of the fields that the caller set, which may be that of a cached property.
    """
    layout = _Layout(kind, ())
    cached = _cached_properties(kind).difference(names)

    def make(value: Any) -> list[Any]:
        left_out = cached.difference(given(value))
        return layout.parts({name: field for name, field in vars(value).items() if name not in left_out})

    return make


def _named_tuple(kind: Any) -> Make:
    names = tuple(kind._fields)
    layout = _Layout(kind, names)
    places = [names.index(name) for name in layout.names]

    def make(value: Any) -> list[Any]:
        items = [*tuple.__iter__(value)]  # its own method, because a subclass may have overridden it
        if len(items) != len(places):
            raise Refused(f"cannot key a {name_of(type(value))}, which has other items than its _fields{WAYS_OUT}")
        return [layout.head, *map(items.__getitem__, places)]

    return make


def _cached_properties(kind: type) -> set[str]:
    held = {name: one for parent in reversed(kind.__mro__) for name, one in vars(parent).items()}
    return {name for name, one in held.items() if isinstance(one, cached_property)}


def _declared(kind: type, mark: str, names: tuple[str, ...], make: Make) -> Make:
    """Return `make`, which refuses an instance that holds more than the fields `names` that its class has declared.

    All fields of a class that declares its own (it holds `mark` itself) are in `names`. A class that only inherits its
    fields may have further attributes, and these would be lost.
    """
    if mark in vars(kind):
        return make
    below = kind.__mro__[: next(i for i, parent in enumerate(kind.__mro__) if mark in vars(parent))]
    slots = [name for parent in below for name, held in vars(parent).items() if type(held) is MemberDescriptorType]
    known = _cached_properties(kind).union(names)

    def checked(value: Any) -> list[Any]:
        held = {*getattr(value, "__dict__", ()), *(name for name in slots if hasattr(value, name))}
        for name in sorted(held - known):
            if not name.startswith("__"):
                raise Refused(f"cannot key a {name_of(type(value))}, whose {name} is no field{WAYS_OUT}")
        return make(value)

    return checked


def is_named_tuple(kind: Any) -> bool:
    """Return whether a class was made by NamedTuple or namedtuple, or inherits from one."""
    return issubclass(kind, tuple) and isinstance(getattr(kind, "_fields", None), tuple)


def record_maker(kind: type) -> Make | None:
    """Return the function that makes the parts of an instance of `kind`; None if `kind` is no record."""
    if is_named_tuple(kind):
        return _declared(kind, "_fields", kind._fields, _named_tuple(kind))  # type: ignore[attr-defined]  # checked
    if dataclasses.is_dataclass(kind):
        names = tuple(field.name for field in dataclasses.fields(kind))
        if (getattr(kind, "__pydantic_config__", None) or {}).get("extra") == "allow":
            return _open(kind, names, lambda _: ())
        return _declared(kind, "__dataclass_fields__", names, _attributes(_Layout(kind, names)))
    if hasattr(kind, "__struct_config__"):
        return _struct(kind)
    if hasattr(kind, "__pydantic_validator__"):
        return _pydantic(kind)
    if hasattr(kind, "__fields__") and hasattr(kind, "__private_attributes__"):
        return _open(kind, kind.__fields__, attrgetter("__fields_set__"))  # pydantic 1
    attributes = getattr(kind, "__attrs_attrs__", None)
    if attributes is not None:
        names = tuple(attribute.name for attribute in attributes)
        return _declared(kind, "__attrs_attrs__", names, _attributes(_Layout(kind, names)))
    return None


def member_maker(kind: type[enum.Enum]) -> Make:
    """Return the function that makes the parts of a member of an Enum: class, name and value.

    The name counts beside the value, because `auto()` gives other values when a member is added. The name of several
    flags is the names of all of them, and that of no flag is None.
    """
    head: Ext = named_head(MEMBER, class_name(kind), ("name", "value"))
    return lambda member: [head, member._name_, member._value_]
