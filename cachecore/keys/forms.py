"""Which form each type of value has: the equalities and differences of the canonical encoding.

Plain data (None, bool, int of 64 bits, float, str, bytes, list, tuple, dict with str keys) is written as it is. A value
of any other type is either *folded* into a simpler value, to which it is then equal (a subclass of str into str, an
object with `__cachecore_key__` into the value that this returns), or has a tagged form, which is equal to nothing else.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, Final
from weakref import WeakKeyDictionary

from cachecore.keys.arrays import array_form
from cachecore.keys.decoded import ClassSchema, Members, Numpy, Pairs, Pandas, Record
from cachecore.keys.records import is_named_tuple, member_maker, record_maker
from cachecore.keys.scalars import SCALARS
from cachecore.keys.schemas import class_leaf
from cachecore.keys.tags import WAYS_OUT, Form, Refused, Shape, name_of

SETS: Final = frozenset({set, frozenset, Members})
PLAIN: Final = frozenset({str, int, float, bool, bytes, type(None), list, tuple, dict})

# Subclasses of these are equal to the plain value: numpy's float64, its str_, and classes that only add methods. The
# base class's own methods are used, because a subclass may have overridden them.
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
        raise Refused("cannot key a memoryview that was released; key it before, or its bytes") from None


def _is_its_value(kind: type[enum.Enum]) -> bool:
    """Return whether every member is the text or the whole number that is its value, as in a StrEnum."""
    return issubclass(kind, str | int) and all(member._value_ == member for member in kind.__members__.values())


def _form_of(kind: type) -> Form:
    # Not hasattr, which would ask the metaclass too.
    if any("__cachecore_key__" in vars(parent) for parent in kind.__mro__):
        return Form(Shape.FOLDED, lambda value: value.__cachecore_key__())
    if issubclass(kind, type):
        return Form(Shape.LEAF, class_leaf)
    if issubclass(kind, enum.Enum) and not _is_its_value(kind):
        return Form(Shape.PARTS, member_maker(kind))
    form = _folded_or_record(kind) or array_form(kind)
    if form is None:
        raise Refused(f"cannot key a {name_of(kind)}{_advice(kind)}")
    return form


def _folded_or_record(kind: type) -> Form | None:
    record = None if issubclass(kind, enum.Enum) else record_maker(kind)
    for parent, fold in _FOLDED:
        if issubclass(kind, parent) and not (parent is tuple and is_named_tuple(kind)):
            if record is not None:
                raise Refused(
                    f"cannot key a {name_of(kind)}, which is a record and a {parent.__name__} at once{WAYS_OUT}"
                )
            return Form(Shape.FOLDED, fold)
    if record is not None:
        return Form(Shape.PARTS, record)
    if kind is memoryview:
        return Form(Shape.FOLDED, _view)
    if kind is MappingProxyType:
        return Form(Shape.FOLDED, dict)
    return None


def _advice(kind: type) -> str:
    if str(kind.__module__).partition(".")[0] in ("numpy", "pandas"):
        return "; use .tolist(), .to_list() or .to_dict()"
    for parent in kind.__mro__:  # the nearest first: a datetime is a date too
        if parent in SCALARS or parent in SETS:
            return f", a subclass of {parent.__name__}; convert it, or give it a __cachecore_key__ method"
    return WAYS_OUT


_SIMPLE_FORMS: Final[dict[type, Form]] = {
    **{kind: Form(Shape.LEAF, make) for kind, make in SCALARS.items()},
    ClassSchema: Form(Shape.LEAF, ClassSchema.leaf),
    Numpy: Form(Shape.LEAF, Numpy.leaf),
    Pandas: Form(Shape.LEAF, Pandas.leaf),
    Pairs: Form(Shape.PARTS, Pairs.parts),
    Record: Form(Shape.PARTS, Record.parts),
}
# Weak, because a class made inside a function keeps the variables of that function alive.
_seen: Final[WeakKeyDictionary[type, Form]] = WeakKeyDictionary()


def form_of(kind: type) -> Form:
    """Return how values of exactly `kind` are written; not for plain types and sets.

    Raises:
        Refused: they cannot be.
    """
    form = _SIMPLE_FORMS.get(kind) or _seen.get(kind)
    if form is None:
        form = _seen[kind] = _form_of(kind)
    return form


def has_form(kind: type) -> bool:
    """Return whether values of exactly `kind` have a canonical form, though what they hold may have none."""
    if kind in PLAIN or kind in SETS:
        return True
    try:
        form_of(kind)
    except Refused:
        return False
    return True
