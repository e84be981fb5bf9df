"""What of a method's object is part of the request: never its class alone.

An object with a canonical form counts by that (a dataclass, a pydantic model, a class with `__cachecore_key__`). Any
other counts by its class and all its attributes, those in slots included. An attribute that cannot be keyed is an error
that names it: two objects with different settings must not share an answer.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Collection
from types import MemberDescriptorType
from typing import Any, Final
from weakref import WeakKeyDictionary

from cachecore.api.naming import class_of, innermost
from cachecore.keys.classes import class_name
from cachecore.keys.forms import has_form

_CONVENTIONAL: Final = frozenset({"self", "cls", "mcs"})
_FIELDS: Final = frozenset({"__weakref__", "__dict__"})


class MethodObject:
    """The first parameter of one function, if that is a method.

    `first` is the parameter's name; `excluded` the names of attributes that do not shape the answer.
    """

    def __init__(self, function: Any, first: str, excluded: Collection[str]) -> None:
        self._function = innermost(function)
        self._owner = class_of(function)
        self._first = first
        self._excluded = frozenset(excluded)
        self._known: WeakKeyDictionary[type, bool] = WeakKeyDictionary()
        """Whether instances of a class are objects of the method."""
        self._canonical: WeakKeyDictionary[type, bool] = WeakKeyDictionary()
        """Whether instances of a class have a canonical form."""

    def form(self, value: object, *, whole: bool) -> dict[str, Any] | None:
        """Return what the request says of the first argument: `class` and `self`; None if it is no method's object.

        Without `whole` the class alone, because the caller has excluded the object. Raises TypeError if the function is
        a method and `value` is no instance of its class.
        """
        if isinstance(value, type) and self._is_owned(value):
            return {"class": ".".join(class_name(value))}
        kind = type(value)
        if not self._is_owned(kind):
            if not self._owner or self._is_static:
                # A function that a class only borrows: its object is as any object of a method.
                borrowed = self._first == "self" and not self._has_form(kind)
                return self._state(value, whole=whole) if borrowed else None
            if self._first not in _CONVENTIONAL and "<locals>" in self._owner:
                return None  # the class cannot be looked up, and the function may be static
            raise TypeError(
                f"{self._function.__qualname__} takes an object of {self._owner.rpartition('.')[2]} first, not a "
                f"{kind.__qualname__}: write {self._function.__qualname__}.invalidate(obj, …), and the same for key, "
                "refresh and lookup"
            )
        return self._state(value, whole=whole)

    def _state(self, value: Any, *, whole: bool) -> dict[str, Any]:
        kind = type(value)
        form: dict[str, Any] = {"class": ".".join(class_name(kind))}
        if not whole:
            return form
        canonical = self._has_form(kind) and not self._excluded
        if canonical:
            form["self"] = value
        if not canonical or (issubclass(kind, _BUILTINS) and not hasattr(kind, "__cachecore_key__")):
            # A subclass of dict or str counts as the plain value, without its further attributes.
            state = attributes_of(value)
            form["attributes"] = {name: one for name, one in state.items() if name not in self._excluded}
        return form

    def _is_owned(self, kind: type) -> bool:
        """Return whether `kind` is the class in whose body the function was defined, or one below it."""
        known = self._known.get(kind)
        if known is None:
            known = self._known[kind] = bool(self._owner) and (
                any(
                    one.__qualname__ == self._owner and one.__module__ == self._function.__module__
                    for one in kind.__mro__
                )
                or _inside(inspect.getattr_static(kind, self._function.__name__, None)) is self._function
            )
        return known

    def _has_form(self, kind: type) -> bool:
        known = self._canonical.get(kind)
        if known is None:
            known = self._canonical[kind] = has_form(kind)
        return known

    @functools.cached_property
    def _is_static(self) -> bool:
        """Return whether the class, as far as it can be looked up, has the function as a static method."""
        found: Any = inspect.getmodule(self._function)
        for name in self._owner.split("."):
            found = getattr(found, name, None)
        attribute = None if found is None else inspect.getattr_static(found, self._function.__name__, None)
        return isinstance(attribute, staticmethod)


_BUILTINS: Final = (str, bytes, bytearray, int, float, dict, list, tuple)


def attributes_of(value: Any) -> dict[str, Any]:
    """Return the attributes of an object, those in slots included; values of cached properties are none."""
    kind = type(value)
    held = dict(getattr(value, "__dict__", {}))
    for parent in kind.__mro__:
        for name, one in vars(parent).items():
            if isinstance(one, functools.cached_property):
                held.pop(one.attrname or name, None)
            elif type(one) is MemberDescriptorType and name not in _FIELDS and parent.__module__ != "builtins":
                try:
                    held.setdefault(name, one.__get__(value, kind))
                except AttributeError:
                    pass  # never set
    return held


def _inside(attribute: Any) -> Any:
    """Return the function inside of what a class has as an attribute: a property, a partial, a wrapper."""
    for _ in range(16):
        for name in ("__func__", "fget", "func", "__wrapped__"):
            inner = getattr(attribute, name, None)
            if inner is not None:
                attribute = inner
                break
        else:
            return attribute
    return attribute
