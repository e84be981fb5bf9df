"""The tags of the canonical encoding, and the two shapes that tagged values have.

A *leaf* is one MessagePack extension. *Parts* are an array whose first item is an extension, the *head*; the values
that follow are canonical themselves. A request cannot hold an extension of its own, so neither shape is ever equal to
plain data.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from ormsgpack import Ext, packb, unpackb

SET: Final = 1
INTEGER: Final = 2
UUID_: Final = 3
DECIMAL: Final = 4
DATE: Final = 5
TIME: Final = 6
DATETIME: Final = 7
DURATION: Final = 8
PATH: Final = 9
TEXT: Final = 10
RECORD: Final = 11
MEMBER: Final = 12
CLASS: Final = 13
PAIRS: Final = 14
NUMPY: Final = 15
PANDAS: Final = 16

SET_HEAD: Final = Ext(SET, b"")
PAIRS_HEAD: Final = Ext(PAIRS, b"")

WAYS_OUT: Final = "; give it a __cachecore_key__ method, or convert it to plain data"


class Refused(Exception):  # noqa: N818 - never leaves this package
    """A value has no canonical form; `args[0]` is the reason, without the value itself."""


class Shape(enum.Enum):
    """The kind of value that `Form.make` returns."""

    FOLDED = "a simpler value, which is encoded instead"
    LEAF = "one extension"
    PARTS = "a list: a head, and the values that belong to it"


class Form(NamedTuple):
    """How the values of one type are written."""

    shape: Shape
    make: Callable[[Any], Any]


def name_of(kind: type) -> str:
    """Return the name of a type for messages, such as `PIL.Image.Image`."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def text_bytes(text: str) -> bytes:
    """Return the UTF-8 of any text. A lone surrogate becomes its three bytes, so no two texts share their bytes."""
    return text.encode("utf-8", "surrogatepass")


def names_packed(names: Iterable[str]) -> bytes:
    """Return names as a MessagePack array of binary; they may hold lone surrogates."""
    return packb([*map(text_bytes, names)])


def names_unpacked(data: bytes) -> list[str]:
    """Return the names of `names_packed`. Raises ValueError if `data` is anything else."""
    names = unpackb(data)
    if type(names) is not list or not all(type(name) is bytes for name in names):
        raise ValueError("not an array of binary")
    return [name.decode("utf-8", "surrogatepass") for name in names]


def named_head(tag: int, owner: tuple[str, str], names: Iterable[str]) -> Ext:
    """Return the head of parts that have names: the module and name of their class `owner`, then a name for each."""
    return Ext(tag, names_packed((*owner, *names)))
