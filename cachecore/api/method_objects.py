"""The part of a request that stands for a method's object: never its class alone.

An object with a canonical form counts by that (a dataclass, a pydantic model, a class with `__cachecore_key__`). Any
other counts by its class and all its attributes, those in slots included. An attribute that cannot be keyed is an error
that names it: two objects with different settings must not share an answer.
"""

from __future__ import annotations

import enum
import functools
import inspect
from collections.abc import Collection
from dataclasses import dataclass
from types import MemberDescriptorType
from typing import Any, Final
from weakref import WeakKeyDictionary

from cachecore.api.naming import class_of, innermost
from cachecore.keys.classes import class_name
from cachecore.keys.forms import has_form

_CONVENTIONAL: Final = frozenset({"self", "cls", "mcs"})
_NO_ATTRIBUTES: Final = frozenset({"__weakref__", "__dict__"})
_PLAIN: Final = (str, bytes, bytearray, int, float, dict, list, tuple)


@dataclass(frozen=True, slots=True)
class _Kind:
    """Facts about one class."""

    name: str
    owned: bool
    """Whether its instances are objects of the method."""
    canonical: bool
    """Whether its instances have a canonical form."""
    attributes: bool
    """Whether that form leaves attributes out: a subclass of dict or str counts as the plain value."""
    slots: tuple[str, ...]
    cached: tuple[str, ...]
    """Attributes that are values of cached properties, and so no settings."""


class MethodObject:
    """The first parameter of one function, if that is a method.

    `first` is the parameter's name; `excluded` the names of attributes that do not shape the answer.
    """

    def __init__(self, function: Any, first: str, excluded: Collection[str]) -> None:
        self._function = innermost(function)
        self._owner = class_of(function)
        self._first = first
        self._excluded = frozenset(excluded)
        self._kinds: WeakKeyDictionary[type, _Kind] = WeakKeyDictionary()

    @property
    def may_be_one(self) -> bool:
        """Whether any argument can be a method's object: the function is in a class, or looks as if meant for one."""
        return bool(self._owner) or self._first == "self"

    def form(self, value: object, *, whole: bool) -> dict[str, Any] | None:
        """Return the part of the request for the first argument; None if that is no method's object.

        It holds the class, and if `whole` (the caller has not excluded it) the object or its attributes. Raises
        TypeError if the function is a method and `value` is no instance of its class.
        """
        if isinstance(value, type):
            own = self._kind(value)
            if own.owned:
                return {"class": own.name}
        kind = self._kind(type(value))
        if kind.owned:
            return self._state(value, kind, whole=whole)
        if not self._owner or self._is_static:
            # A function that a class only borrows: its object is as any object of a method.
            borrowed = self._first == "self" and not kind.canonical
            return self._state(value, kind, whole=whole) if borrowed else None
        if self._first not in _CONVENTIONAL and "<locals>" in self._owner:
            return None  # the class cannot be looked up, and the function may be static
        name = self._function.__qualname__
        raise TypeError(
            f"{name} takes an object of {self._owner.rpartition('.')[2]} first, not a {type(value).__qualname__}: "
            f"write {name}.invalidate(obj, …), and the same for key, refresh and lookup"
        )

    def _state(self, value: object, kind: _Kind, *, whole: bool) -> dict[str, Any]:
        form: dict[str, Any] = {"class": kind.name}
        if not whole:
            return form
        canonical = kind.canonical and not self._excluded
        if canonical:
            form["self"] = value
        if kind.attributes or not canonical:
            held = _attributes(value, kind)
            excluded = self._excluded
            form["attributes"] = {name: held[name] for name in held if name not in excluded} if excluded else held
        return form

    def _kind(self, cls: type) -> _Kind:
        kind = self._kinds.get(cls)
        if kind is None:
            kind = self._kinds[cls] = _kind(cls, owned=self._owns(cls))
        return kind

    def _owns(self, cls: type) -> bool:
        """Return whether `cls` is the class that defines the function, or a subclass of that class."""
        function, owner = self._function, self._owner
        return bool(owner) and (
            any(one.__qualname__ == owner and one.__module__ == function.__module__ for one in cls.__mro__)
            or _inside(inspect.getattr_static(cls, function.__name__, None)) is function
        )

    @functools.cached_property
    def _is_static(self) -> bool:
        """Whether the class, as far as it can be looked up, has the function as a static method."""
        holder: Any = inspect.getmodule(self._function)
        for name in self._owner.split("."):
            holder = getattr(holder, name, None)
        attribute = None if holder is None else inspect.getattr_static(holder, self._function.__name__, None)
        return isinstance(attribute, staticmethod)


def _kind(cls: type, *, owned: bool) -> _Kind:
    members = [(name, one, parent) for parent in cls.__mro__ for name, one in vars(parent).items()]
    return _Kind(
        name=".".join(class_name(cls)),
        owned=owned,
        canonical=has_form(cls),
        attributes=issubclass(cls, _PLAIN) and not hasattr(cls, "__cachecore_key__") and not issubclass(cls, enum.Enum),
        slots=tuple(
            name
            for name, one, parent in members
            if type(one) is MemberDescriptorType and name not in _NO_ATTRIBUTES and parent.__module__ != "builtins"
        ),
        cached=tuple(one.attrname or name for name, one, _ in members if isinstance(one, functools.cached_property)),
    )


def _attributes(value: Any, kind: _Kind) -> dict[str, Any]:
    """Return the attributes of an object, those in slots included."""
    held = dict(getattr(value, "__dict__", ()))
    held.pop("__objclass__", None)  # of a member of an Enum: its class, which counts already
    if "__orig_class__" in held:  # of an object made by `Box[int](…)`
        held["__orig_class__"] = repr(held["__orig_class__"])
    for name in kind.cached:
        held.pop(name, None)
    for name in kind.slots:
        try:
            held[name] = getattr(value, name)
        except AttributeError:
            pass  # never set
    return held


def _inside(attribute: Any) -> Any:
    """Return the function inside of an attribute of a class, such as a property, a partial or a wrapper."""
    for _ in range(16):
        for name in ("__func__", "fget", "func", "__wrapped__"):
            inner = getattr(attribute, name, None)
            if inner is not None:
                attribute = inner
                break
        else:
            return attribute
    return attribute
