"""The values that `decode` returns where Python's own would need a class, a library or hashable members.

Each of them encodes to the bytes it was decoded from.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ormsgpack import Ext, packb

from cachecore.keys import tags


@dataclass(frozen=True, slots=True)
class Members:
    """A set: its members in the order of their bytes."""

    items: tuple[Any, ...]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True, slots=True)
class Pairs:
    """A dict with keys other than text: its keys and values, in the order of the keys' bytes."""

    items: tuple[tuple[Any, Any], ...]

    def __len__(self) -> int:
        return len(self.items)

    def parts(self) -> list[Any]:
        """Return head, keys and values, as they were."""
        return [tags.PAIRS_HEAD, *(one for pair in self.items for one in pair)]


@dataclass(frozen=True, slots=True)
class Record:
    """A record, or a member of an Enum (with the fields `name` and `value`); `tag` says which."""

    tag: int
    module: str
    name: str
    fields: dict[str, Any]

    def __len__(self) -> int:
        return len(self.fields)

    def parts(self) -> list[Any]:
        """Return head and values, as they were."""
        return [tags.named_head(self.tag, (self.module, self.name), self.fields), *self.fields.values()]


@dataclass(frozen=True, slots=True)
class ClassSchema:
    """A class object: its name and its JSON schema."""

    module: str
    name: str
    schema: Any

    def leaf(self) -> Ext:
        """Return the extension of this class."""
        return Ext(tags.CLASS, tags.names_packed((self.module, self.name, json.dumps(self.schema, sort_keys=True))))


@dataclass(frozen=True, slots=True)
class Numpy:
    """A numpy scalar (`shape` is None) or array: its elements in C order, little-endian."""

    dtype: str
    shape: tuple[int, ...] | None
    data: bytes

    def leaf(self) -> Ext:
        """Return the extension of this scalar or array."""
        return Ext(tags.NUMPY, packb([self.dtype, self.shape, self.data]))


@dataclass(frozen=True, slots=True)
class Pandas:
    """A pandas scalar: the name of its class and its ISO 8601 text."""

    kind: str
    text: str

    def leaf(self) -> Ext:
        """Return the extension of this scalar."""
        return Ext(tags.PANDAS, f"{self.kind} {self.text}".encode())
