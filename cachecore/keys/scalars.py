"""Tagged scalars of the standard library: integers of any size, UUID, Decimal, dates, times, durations and paths.

Subclasses of these types are refused: the data they add (the nanoseconds of a pandas Timestamp) would be lost.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path, PosixPath, PurePath, PurePosixPath, PureWindowsPath, WindowsPath
from typing import Any, Final
from uuid import UUID

from ormsgpack import Ext

from cachecore.keys import tags
from cachecore.keys.tags import Refused, name_of

OFFSET_MARK: Final = "@"
"""Comes before the offset of an aware time, in microseconds."""
FOLD_MARK: Final = ";fold"
"""Ends a naive time that means the second of two equal wall clocks."""

_MICROSECOND: Final = timedelta(microseconds=1)


def _integer(value: int) -> Ext:
    return Ext(tags.INTEGER, value.to_bytes((value.bit_length() + 8) // 8, "big", signed=True))


def _decimal(value: Decimal) -> Ext:
    # From the parts: text depends on the context's `capitals`. 1.0 and 1.00 differ, as their text does.
    sign, digits, exponent = value.as_tuple()
    return Ext(tags.DECIMAL, f"{sign} {''.join(map(str, digits))} {exponent}".encode())


def clock_text(value: datetime | time) -> str:
    """Return wall clock and offset. Equal instants in two zones differ, since an answer may speak of either hour."""
    offset = value.utcoffset()
    if value.tzinfo is not None and offset is None:
        raise Refused(f"cannot key a {name_of(type(value))} whose time zone gives no offset; drop or replace the zone")
    text = value.replace(tzinfo=None, fold=0).isoformat()
    if offset is not None:  # the offset tells the two equal wall clocks apart, so the fold is not needed
        return f"{text}{OFFSET_MARK}{offset // _MICROSECOND}"
    return text + FOLD_MARK if value.fold else text


def _clock(tag: int, value: datetime | time) -> Ext:
    return Ext(tag, clock_text(value).encode())


SCALARS: Final[dict[type, Callable[[Any], Ext]]] = {
    int: _integer,
    UUID: lambda value: Ext(tags.UUID_, value.bytes),
    Decimal: _decimal,
    date: lambda value: Ext(tags.DATE, value.isoformat().encode()),
    time: partial(_clock, tags.TIME),
    datetime: partial(_clock, tags.DATETIME),
    timedelta: lambda value: Ext(tags.DURATION, b"%d" % (value // _MICROSECOND)),
    **dict.fromkeys(
        (PurePath, PurePosixPath, PureWindowsPath, Path, PosixPath, WindowsPath),
        lambda value: Ext(tags.PATH, tags.text_bytes(value.as_posix())),
    ),
}
"""The leaf of each type. Of `int` it is for integers outside 64 bits; the others are plain."""
