"""The fields of everything that the types of the SDKs let stand in a request body."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, get_args, get_type_hints


class Field(NamedTuple):
    """A field of a TypedDict, and the field of another one that leads to it; "" at the top."""

    leads: str
    owner: str
    name: str


def fields_of(kind: Any, seen: set[Any] | None = None, leads: str = "") -> Iterator[Field]:
    """Yield each field of a TypedDict, and of the TypedDicts inside it, once for each field that leads there."""
    seen = set() if seen is None else seen
    if not hasattr(kind, "__required_keys__"):  # which a TypedDict has, also one of typing_extensions
        for inner in get_args(kind):
            yield from fields_of(inner, seen, leads)
        return
    if (kind, leads) in seen:
        return
    seen.add((kind, leads))
    for name, inner in get_type_hints(kind).items():
        yield Field(leads, kind.__name__, name)
        yield from fields_of(inner, seen, name)
