"""Canonical bytes back into values: for `explain`, and for the proof that no two requests share their bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from functools import partial
from pathlib import PurePosixPath
from typing import Any, Final
from uuid import UUID

from ormsgpack import MsgpackDecodeError, unpackb

from cachecore.contract.errors import EncodingError
from cachecore.keys import decoded, scalars, tags


class _Head:
    """The head of an array of parts. A caller never gets one."""

    def __init__(self, tag: int, data: bytes) -> None:
        self.tag = tag
        self.names = tags.names_unpacked(data) if data else []


def _decimal(data: bytes) -> Decimal:
    sign, digits, exponent = data.decode().split(" ")
    return Decimal((int(sign), tuple(map(int, digits)), exponent if exponent in "nNF" else int(exponent)))  # type: ignore[arg-type]  # the letters of as_tuple()


def _clock(parse: Callable[[str], Any], data: bytes) -> Any:
    text, aware, offset = data.decode().partition(scalars.OFFSET_MARK)
    if aware:
        return parse(text).replace(tzinfo=timezone(timedelta(microseconds=int(offset))))
    plain = text.removesuffix(scalars.FOLD_MARK)
    return parse(plain).replace(fold=int(plain != text))


def _class(data: bytes) -> decoded.ClassSchema:
    module, name, schema = tags.names_unpacked(data)
    return decoded.ClassSchema(module, name, json.loads(schema))


def _numpy(data: bytes) -> decoded.Numpy:
    dtype, shape, elements = unpackb(data)
    return decoded.Numpy(dtype, None if shape is None else tuple(shape), elements)


_TAGGED: Final[dict[int, Callable[[bytes], Any]]] = {
    tags.SET: partial(_Head, tags.SET),
    tags.INTEGER: lambda data: int.from_bytes(data, "big", signed=True),
    tags.UUID_: lambda data: UUID(bytes=data),
    tags.DECIMAL: _decimal,
    tags.DATE: lambda data: date.fromisoformat(data.decode()),
    tags.TIME: partial(_clock, time.fromisoformat),
    tags.DATETIME: partial(_clock, datetime.fromisoformat),
    tags.DURATION: lambda data: timedelta(microseconds=int(data)),
    tags.PATH: lambda data: PurePosixPath(data.decode("utf-8", "surrogatepass")),
    tags.TEXT: lambda data: data.decode("utf-8", "surrogatepass"),
    tags.RECORD: partial(_Head, tags.RECORD),
    tags.MEMBER: partial(_Head, tags.MEMBER),
    tags.CLASS: _class,
    tags.PAIRS: partial(_Head, tags.PAIRS),
    tags.NUMPY: _numpy,
    tags.PANDAS: lambda data: decoded.Pandas(*data.decode().split(" ")),
}


def _untag(tag: int, data: bytes) -> Any:
    return _TAGGED[tag](data)


def _assembled(value: Any) -> Any:
    """Return `value` with every array of parts in it made into one value."""
    if type(value) is dict:
        return {name: _assembled(field) for name, field in value.items()}
    if type(value) is not list:
        return value
    head, *items = value if value and type(value[0]) is _Head else (None, *value)
    items = [*map(_assembled, items)]
    if head is None:
        return items
    if head.tag == tags.SET:
        return decoded.Members(tuple(items))
    if head.tag == tags.PAIRS:
        return decoded.Pairs(tuple(zip(items[::2], items[1::2], strict=True)))
    module, name, *fields = head.names
    return decoded.Record(head.tag, module, name, dict(zip(fields, items, strict=True)))


def decode(data: bytes) -> Any:
    """Return the value that `data` encodes, in the plainest form among those equal to it.

    Tuples come back as lists and paths as `PurePosixPath`. The types of `decoded` stand for sets (`Members`), dicts
    with keys other than text (`Pairs`), records and members of an Enum (`Record`, with the name of the class), class
    objects (`ClassSchema`), and values of numpy and pandas. Each of these encodes to the same bytes again.

    Raises:
        EncodingError: `data` was not made by `encode`.
    """
    try:
        return _assembled(unpackb(data, ext_hook=_untag))
    except (MsgpackDecodeError, LookupError, TypeError, ValueError) as error:
        raise EncodingError("these bytes are not a canonical encoding") from error
