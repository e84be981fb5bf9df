"""The type of a cached function's answers by its return annotation, where plain data would not keep them.

An annotation counts if it is made only of classes that the serializer `typed` keeps whole (dataclasses, structs,
attrs classes, pydantic models, NamedTuples, TypedDicts, Enums, dates, Decimal, UUID, paths, IP addresses, complex,
Fraction, bytearray, the collections' deques and dicts, arrays of numpy) and of lists, dicts, `Sequence`, `Mapping`,
tuples, sets and unions of them. Any other is ignored: one of plain data, of another class, or one that cannot be
resolved.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import inspect
import ipaddress
import pathlib
import sys
import types
import typing
import uuid
from collections.abc import Iterable, Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any, Final

from cachecore.api.naming import innermost
from cachecore.contract.errors import OptionsError
from cachecore.contract.protocols import Serializer, WrapsSerializer
from cachecore.contract.results import Computed
from cachecore.serializers.arrays import is_array_class
from cachecore.serializers.fallback import FallbackSerializer
from cachecore.serializers.msgpack import MsgpackSerializer


class Kind(enum.IntEnum):
    """The serializer that a type needs; of several types in one annotation the greatest counts."""

    PLAIN = 0
    TYPED = 1
    OTHER = 2


_PLAIN: Final = frozenset({str, bytes, int, float, bool, type(None), object, list, dict})
_LISTS: Final = frozenset({list, Sequence, MutableSequence})
_DICTS: Final = frozenset({dict, Mapping, MutableMapping})
_VALUES: Final = frozenset(
    {
        datetime.datetime, datetime.date, datetime.time, datetime.timedelta, decimal.Decimal, uuid.UUID,
        tuple, set, frozenset, bytearray, complex, fractions.Fraction,
        collections.deque, collections.OrderedDict, collections.Counter, collections.defaultdict,
        pathlib.Path, pathlib.PosixPath, pathlib.PurePath, pathlib.PurePosixPath, pathlib.PureWindowsPath,
        ipaddress.IPv4Address, ipaddress.IPv6Address, ipaddress.IPv4Network, ipaddress.IPv6Network,
        ipaddress.IPv4Interface, ipaddress.IPv6Interface,
    }
)  # fmt: skip


def serializer_for(function: Any, default: Serializer) -> Serializer | None:
    """Return the serializer for the answers of `function` by its annotation; None if `default` is right for them.

    Only plain MessagePack is replaced, also inside a wrapper that compresses or encrypts: any other one was chosen.
    A value that does not fit the annotation is stored as plain data if it is that.
    """
    if isinstance(default, WrapsSerializer):
        inner = serializer_for(function, default.inner)
        return None if inner is None else default.around(inner)
    if type(default) is not MsgpackSerializer:
        return None
    hint = _returned(function)
    if _kind(hint, set()) is not Kind.TYPED:
        return None
    from cachecore.serializers.typed import TypedSerializer

    try:
        return FallbackSerializer(TypedSerializer(value_type=hint), default)
    except OptionsError:  # the extra is not installed, or the type has no form there
        return None


def _returned(function: Any) -> Any:
    """Return the resolved return annotation, less `Computed`; Any if there is none, or it cannot be resolved."""
    inner = innermost(function)
    if not inspect.isroutine(inner):
        inner = innermost(type(inner).__call__)
    try:
        hint = _resolved(inner)
    except Exception:  # noqa: BLE001 - an annotation may be any expression, of names that are there for checkers alone
        return Any
    alternatives = [
        one
        for part in (typing.get_args(hint) if _is_union(hint) else [hint])
        for one in (typing.get_args(part) or [Any] if Computed in (part, typing.get_origin(part)) else [part])
    ]
    return typing.Union[tuple(alternatives)]  # noqa: UP007 - of a number of parts that is known at run time


def _resolved(function: Any) -> Any:
    """Return the return annotation of a function. Other annotations need not be resolvable."""
    if sys.version_info >= (3, 14):
        import annotationlib

        annotations = annotationlib.get_annotations(function, format=annotationlib.Format.FORWARDREF)
    else:
        annotations = getattr(function, "__annotations__", {})

    def holder() -> None: ...

    holder.__annotations__ = {"return": annotations.get("return", Any)}
    code, cells = getattr(function, "__code__", None), getattr(function, "__closure__", None) or ()
    variables = {}
    for name, cell in zip(code.co_freevars if code is not None else (), cells, strict=True):
        try:
            variables[name] = cell.cell_contents
        except ValueError:
            pass  # not assigned yet
    names = getattr(function, "__globals__", {})
    return typing.get_type_hints(holder, names, variables, include_extras=True)["return"]


def _is_union(hint: Any) -> bool:
    return isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union


def _kind(hint: Any, seen: set[type]) -> Kind:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any or hint is None or hint is ...:
        return Kind.PLAIN
    if _is_union(hint):
        return _most(arguments, seen)
    if origin is typing.Annotated:
        return _kind(arguments[0], seen)
    if origin is typing.Literal:
        return max((Kind.PLAIN if type(one) in _PLAIN else Kind.TYPED for one in arguments), default=Kind.PLAIN)
    if origin in _LISTS:
        return _most(arguments, seen)
    if origin in _DICTS:
        return max(_most(arguments, seen), Kind.PLAIN if arguments[0] is str else Kind.TYPED)
    if origin in (tuple, set, frozenset):
        return max(_most(arguments, seen), Kind.TYPED)
    other_name = getattr(hint, "__supertype__", None) or getattr(hint, "__value__", None)  # NewType, type X = …
    if other_name is not None and not isinstance(hint, type):
        return _kind(other_name, seen)
    return _class_kind(origin if isinstance(origin, type) else hint, seen)


def _most(hints: Iterable[Any], seen: set[type]) -> Kind:
    return max((_kind(one, seen) for one in hints), default=Kind.PLAIN)


def _class_kind(cls: Any, seen: set[type]) -> Kind:
    if not isinstance(cls, type):
        return Kind.OTHER
    if cls in _PLAIN:
        return Kind.PLAIN
    if cls in seen:
        return Kind.PLAIN  # inside of itself: its other fields decide
    if typing.is_typeddict(cls):
        seen.add(cls)
        try:
            return _most(typing.get_type_hints(cls).values(), seen)
        except Exception:  # noqa: BLE001 - as above
            return Kind.OTHER
    typed = (
        cls in _VALUES
        or issubclass(cls, enum.Enum)
        or dataclasses.is_dataclass(cls)
        or hasattr(cls, "__struct_fields__")
        or hasattr(cls, "__attrs_attrs__")
        or hasattr(cls, "__pydantic_core_schema__")
        or (issubclass(cls, tuple) and hasattr(cls, "_fields"))
        or is_array_class(cls)
    )
    return Kind.TYPED if typed else Kind.OTHER
