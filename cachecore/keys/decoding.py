"""Canonical bytes back into values: for `explain`, and for the proof that no two requests share their bytes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any, Final
from uuid import UUID

from ormsgpack import MsgpackDecodeError, unpackb

from cachecore.contract.errors import EncodingError
from cachecore.keys import forms


def _decimal(data: bytes) -> Decimal:
    sign, digits, exponent = data.decode().split(" ")
    return Decimal((int(sign), tuple(map(int, digits)), exponent if exponent in "nNF" else int(exponent)))  # type: ignore[arg-type]  # the letters of as_tuple()


def _clock(parse: Callable[[str], Any], data: bytes) -> Any:
    text, aware, offset = data.decode().partition(forms.OFFSET_MARK)
    if aware:
        return parse(text).replace(tzinfo=timezone(timedelta(microseconds=int(offset))))
    plain = text.removesuffix(forms.FOLD_MARK)
    return parse(plain).replace(fold=int(plain != text))


_TAGGED: Final[dict[int, Callable[[bytes], Any]]] = {
    forms.SET: lambda _: forms.SET_MARK,
    forms.INTEGER: lambda data: int.from_bytes(data, "big", signed=True),
    forms.UUID_: lambda data: UUID(bytes=data),
    forms.DECIMAL: _decimal,
    forms.DATE: lambda data: date.fromisoformat(data.decode()),
    forms.TIME: lambda data: _clock(time.fromisoformat, data),
    forms.DATETIME: lambda data: _clock(datetime.fromisoformat, data),
    forms.DURATION: lambda data: timedelta(microseconds=int(data)),
    forms.PATH: lambda data: PurePosixPath(data.decode()),
}


def _untag(tag: int, data: bytes) -> Any:
    return _TAGGED[tag](data)


def _without_marks(value: Any) -> Any:
    if type(value) is dict:
        return {name: _without_marks(field) for name, field in value.items()}
    if type(value) is list:
        if value and value[0] is forms.SET_MARK:
            return forms.Members(tuple(map(_without_marks, value[1:])))
        return [*map(_without_marks, value)]
    return value


def decode(data: bytes) -> Any:
    """Return the value that `data` encodes, in the plainest form among those equal to it.

    Tuples come back as lists, records as dicts, enums as their values, sets as `Members`, paths as `PurePosixPath`.

    Raises:
        EncodingError: `data` was not made by `encode`.
    """
    try:
        return _without_marks(unpackb(data, ext_hook=_untag))
    except (MsgpackDecodeError, LookupError, ValueError) as error:
        raise EncodingError("these bytes are not a canonical encoding") from error
