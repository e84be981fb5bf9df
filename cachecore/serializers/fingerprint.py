"""The shape of a type in 16 hexadecimal digits, which tells entries of one version of a class from those of the next.

A field that is added, dropped, renamed, retyped or given another default changes the fingerprint, as do these changes
in any class that the type holds, moving a class to another module, and the members of an enum. Methods, validators and
comments do not: when their meaning changes, give `TypedSerializer` another `version`.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import re
import types
import typing
from collections.abc import Iterator
from typing import Any, Final

from cachecore.encoding.plain import SCALARS, type_name

_ADDRESS: Final = re.compile(r" at 0x[0-9a-fA-F]+")


def fingerprint(value_type: Any, version: str = "") -> str:
    """Return the digits of `value_type`. The same in every process; blind to the order in which modules load."""
    described = f"{version}\n{_describe(value_type, {})}"
    return hashlib.sha256(described.encode()).hexdigest()[:16]


def classes_in(value_type: Any) -> set[type]:
    """Return the classes that `value_type` names, in fields, arguments and alternatives, itself included."""
    seen: dict[type, int] = {}
    _describe(value_type, seen)
    return set(seen)


def _describe(hint: Any, seen: dict[type, int]) -> str:
    origin = typing.get_origin(hint)
    if isinstance(hint, types.UnionType) or origin is typing.Union:
        return " | ".join(_describe(one, seen) for one in typing.get_args(hint))
    if origin is typing.Literal:
        return f"Literal{[_plain(one) for one in typing.get_args(hint)]}"
    if origin is typing.Annotated:
        inner, *notes = typing.get_args(hint)
        return f"{_describe(inner, seen)} {_ADDRESS.sub('', repr(notes))}"
    if origin is not None:
        arguments = [_describe(one, seen) for one in typing.get_args(hint)]
        return f"{_describe(origin, seen)}{arguments}"
    alias = getattr(hint, "__value__", None)  # type X = …
    if alias is not None and not isinstance(hint, type):
        return _describe(alias, seen)
    if not isinstance(hint, type):
        return _ADDRESS.sub("", repr(hint))
    if hint in seen:
        return f"{type_name(hint)}#{seen[hint]}"
    seen[hint] = len(seen)
    if issubclass(hint, enum.Enum):
        return f"{type_name(hint)}{[(name, _plain(member.value)) for name, member in hint.__members__.items()]}"
    fields = [f"{name}: {_describe(kind, seen)}{default}" for name, kind, default in _fields(hint)]
    return f"{type_name(hint)}{{{', '.join(fields)}}}" if fields else type_name(hint)


def _fields(cls: type) -> Iterator[tuple[str, Any, str]]:
    """Yield the fields of a class: name, type, and a text for the default."""
    defaults: dict[str, Any] = {}
    if dataclasses.is_dataclass(cls):
        defaults = {
            field.name: field.default if field.default_factory is dataclasses.MISSING else field.default_factory
            for field in dataclasses.fields(cls)
        }
    elif (struct_defaults := getattr(cls, "__struct_defaults__", None)) is not None:  # msgspec
        names = cls.__struct_fields__[len(cls.__struct_fields__) - len(struct_defaults) :]  # type: ignore[attr-defined]  # seen to be a Struct
        defaults = dict(zip(names, struct_defaults, strict=True))
    elif (model_fields := getattr(cls, "model_fields", None)) is not None:  # pydantic
        for name, field in model_fields.items():
            bounds = _ADDRESS.sub("", f"{field.metadata}{field.alias}{field.validation_alias}{field.exclude}")
            yield name, field.annotation, f" = {_plain(field.default_factory or field.default)} {bounds}"
        return
    elif not (typing.is_typeddict(cls) or hasattr(cls, "_field_defaults")):
        return
    required = getattr(cls, "__required_keys__", frozenset[str]())
    for name, kind in typing.get_type_hints(cls, include_extras=True).items():
        if typing.get_origin(kind) is typing.ClassVar:
            continue
        if name in defaults:
            yield name, kind, f" = {_plain(defaults[name])}"
        else:
            yield name, kind, " required" if name in required else ""


def _plain(value: Any) -> str:
    """Return a text for a default or a literal that is the same in every process."""
    if type(value) in SCALARS:
        return repr(value)
    if isinstance(value, enum.Enum):
        return f"{type_name(type(value))}.{value.name}"
    if isinstance(value, type | types.FunctionType):
        return f"{value.__module__}.{value.__qualname__}"
    return _ADDRESS.sub("", repr(value))
