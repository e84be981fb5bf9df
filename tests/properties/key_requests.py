"""Requests of all kinds for the laws of keys, and their meaning, spelt out."""

from __future__ import annotations

import enum
import math
import struct
from dataclasses import dataclass
from datetime import datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import msgspec
from hypothesis import strategies as st

from cachecore.keys import Members
from cachecore.keys.decoded import Pairs, Record
from cachecore.keys.tags import RECORD


@dataclass(frozen=True)
class Pair:
    a: Any = None
    b: Any = None


class Twin(NamedTuple):
    b: Any = None
    a: Any = None


class Struct(msgspec.Struct, frozen=True):
    a: Any = None
    b: Any = None


class Colour(enum.Enum):
    RED = 1
    BLUE = "1"


class Shade(enum.Enum):
    RED = 1


class Access(enum.Flag):
    READ = 1
    WRITE = 2


RECORDS = (Pair, Twin, Struct)

valid = st.characters(exclude_categories=["Cs"])
texts = st.text(valid, max_size=12)
cut_texts = st.text(valid | st.characters(categories=["Cs"]), max_size=4)
"""Texts that may hold lone surrogates."""
names = st.text(valid, max_size=6)
numbers = st.integers() | st.integers(-(2**70), 2**70) | st.floats() | st.sampled_from([-1, 127, 255, 2**63, 2**64])
offsets = st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(timezone)
tagged = (
    st.uuids()
    | st.decimals(allow_nan=False)
    | st.sampled_from([Decimal("NaN"), Decimal("-NaN12")])  # no signalling NaN: no set takes one
    | st.dates()
    | st.times()
    | st.datetimes(timezones=st.none() | offsets)
    | st.timedeltas()
    | st.builds(PurePosixPath, st.text("ab./ \udcff", max_size=6))
    | st.sampled_from([*Colour, *Shade, *Access, Access(0), Access(3)])
)
scalars = st.none() | st.booleans() | numbers | texts | cut_texts | st.binary(max_size=8) | tagged


def meaning(value: Any) -> Any:
    """Return what two values must have in common to share a key: the equalities of the encoding, spelt out."""
    if isinstance(value, dict | Pairs):
        items = value.items if isinstance(value, Pairs) else value.items()
        return "dict", frozenset((meaning(key), meaning(field)) for key, field in items)
    if isinstance(value, Record):
        return "record" if value.tag == RECORD else "member", value.module, value.name, meaning(value.fields)
    if isinstance(value, enum.Enum):
        return "member", __name__, type(value).__name__, meaning({"name": value.name, "value": value.value})
    if type(value) in RECORDS:
        return "record", __name__, type(value).__name__, meaning({"a": value.a, "b": value.b})
    if isinstance(value, list | tuple):
        return "list", tuple(map(meaning, value))
    if isinstance(value, set | frozenset | Members):
        return "set", frozenset(map(meaning, value))
    if isinstance(value, float):
        return "float", "nan" if math.isnan(value) else struct.pack(">d", value)
    if isinstance(value, Decimal):
        return "decimal", value.as_tuple()
    if isinstance(value, datetime | time):
        return (
            type(value).__name__,
            value.replace(tzinfo=None, fold=0),
            value.utcoffset(),
            value.tzinfo is None and value.fold,
        )
    return type(value).__name__, value


def keys_stay_apart(asked: dict[Any, Any]) -> bool:
    """Return whether no two keys have one meaning, such as two NaNs: such a dict is refused."""
    return len({meaning(key) for key in asked}) == len(asked)


hashable = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3).map(tuple)
        | st.frozensets(inner, max_size=3)
        | st.builds(lambda kind, a, b: kind(a=a, b=b), st.sampled_from(RECORDS), inner, inner)
    ),
    max_leaves=5,
)
requests = st.recursive(
    scalars | st.frozensets(hashable, max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(names, inner, max_size=4)
        | st.dictionaries(cut_texts, inner, max_size=2)
        | st.dictionaries(hashable, inner, max_size=4).filter(keys_stay_apart)
        | st.tuples(inner, inner)
        | st.builds(lambda kind, a, b: kind(a=a, b=b), st.sampled_from(RECORDS), inner, inner)
    ),
    max_leaves=8,
)
