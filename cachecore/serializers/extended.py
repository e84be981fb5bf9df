"""`extended`: plain data together with the values that Python programs keep beside it, each exactly as it was.

Beside the plain data of `msgpack`: tuples, sets, dates, times, decimals, UUIDs, ints of any size, complex numbers,
dicts whose keys are not str, and the kinds that a program adds. Each of these is a MessagePack extension: a number that
names the kind, and plain data. Bytes name a kind of this table or nothing, so no bytes choose the code that runs.
"""

from __future__ import annotations

import datetime
import decimal
import uuid
import zoneinfo
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import ormsgpack

from cachecore.contract.errors import EncodingError, OptionsError
from cachecore.contract.options import MIB
from cachecore.contract.protocols import EntryContext
from cachecore.encoding.plain import type_name
from cachecore.serializers.limits import check_limit, check_size
from cachecore.serializers.msgpack import EXACT_TYPES
from cachecore.serializers.shape import MAX_ELEMENTS, count_elements

_DEEPEST: Final = 32
"""Extensions inside each other, at most."""
OWN_CODES: Final = range(64, 128)
"""The numbers that programs give to kinds of their own."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Values of exactly the class `cls`, written as what `parts` makes of them and read by `build`.

    `name` and `code` (64 to 127) are stored: neither may change its meaning. `build` gets plain data or other kinds,
    raises any error for data that it did not make, and must not run what the data names.
    """

    code: int
    name: str
    cls: type
    parts: Callable[[Any], Any]
    build: Callable[[Any], Any]


class _Pairs:
    """A dict whose keys are not all str, on its way to bytes."""

    def __init__(self, pairs: list[list[Any]]) -> None:
        self.pairs = pairs


class _LargeInt:
    """An int over 64 bits, on its way to bytes."""

    def __init__(self, value: int) -> None:
        self.value = value


def _time_parts(value: Any) -> list[Any]:
    """Return ISO text without a zone, the fold, and the zone: None, its name, or the seconds from UTC."""
    zone = value.tzinfo
    if isinstance(zone, zoneinfo.ZoneInfo) and zone.key is not None:
        place: Any = zone.key
    elif zone is None:
        place = None
    elif type(zone) is datetime.timezone and zone == datetime.timezone(zone.utcoffset(None)):
        place = zone.utcoffset(None).total_seconds()
        if zone.tzname(None) != datetime.timezone(zone.utcoffset(None)).tzname(None):
            raise EncodingError("a time in a zone with a name of its own cannot be stored: use zoneinfo or UTC")
    else:
        raise EncodingError(f"a time in a zone of type {type_name(type(zone))} cannot be stored: use zoneinfo or UTC")
    return [value.replace(tzinfo=None).isoformat(), value.fold, place]


def _time(cls: Any, parts: Any) -> Any:
    text, fold, place = parts
    zone: Any = place
    if isinstance(place, str):
        zone = zoneinfo.ZoneInfo(place)
    elif place is not None:
        zone = datetime.UTC if place == 0 else datetime.timezone(datetime.timedelta(seconds=place))
    return cls.fromisoformat(text).replace(tzinfo=zone, fold=fold)


_KINDS: Final = (
    Kind(1, "tuple", tuple, list, tuple),
    Kind(2, "set", set, list, set),
    Kind(3, "frozenset", frozenset, list, frozenset),
    Kind(4, "dict", _Pairs, lambda value: value.pairs, dict),
    Kind(5, "datetime", datetime.datetime, _time_parts, partial(_time, datetime.datetime)),
    Kind(6, "date", datetime.date, datetime.date.isoformat, datetime.date.fromisoformat),
    Kind(7, "time", datetime.time, _time_parts, partial(_time, datetime.time)),
    Kind(
        8,
        "timedelta",
        datetime.timedelta,
        lambda value: [value.days, value.seconds, value.microseconds],
        lambda parts: datetime.timedelta(*parts),
    ),
    Kind(9, "decimal", decimal.Decimal, str, decimal.Decimal),
    Kind(10, "uuid", uuid.UUID, lambda value: value.bytes, lambda data: uuid.UUID(bytes=data)),
    Kind(11, "int", _LargeInt, lambda large: f"{large.value:x}", partial(int, base=16)),
    Kind(12, "complex", complex, lambda value: [value.real, value.imag], lambda parts: complex(*parts)),
)


class ExtendedSerializer:
    """Serializer of plain data and the kinds in this module's docstring. Values come back equal, type for type.

    Args:
        kinds: kinds of the program's own; their names are part of the serializer's name.
        max_bytes: the largest payload that is made or read.
        max_elements: the most elements of one value, those inside of extensions included.

    Raises:
        OptionsError: two kinds have one code, or a code is not in 64 to 127.
    """

    def __init__(
        self, kinds: Sequence[Kind] = (), *, max_bytes: int = 8 * MIB, max_elements: int = MAX_ELEMENTS
    ) -> None:
        self._max_bytes = check_limit("max_bytes", max_bytes)
        self._max_elements = check_limit("max_elements", max_elements)
        self._by_class = {kind.cls: kind for kind in (*_KINDS, *kinds)}
        self._by_code = {kind.code: kind for kind in (*_KINDS, *kinds)}
        wrong = [kind.code for kind in kinds if kind.code not in OWN_CODES]
        if wrong or len(self._by_code) < len(_KINDS) + len(kinds):
            raise OptionsError(
                f"each kind has a code of its own from 64 to 127, not {[kind.code for kind in kinds]}: give others"
            )
        self.name: Final = "+".join(("extended", *(kind.name for kind in kinds)))

    def __repr__(self) -> str:
        return f"ExtendedSerializer(name={self.name!r})"

    def dumps(self, value: Any, context: EntryContext) -> bytes:
        """Return the bytes of `value`. Raises `EncodingError` if it would not come back as it is."""
        try:
            data = self._pack(value, 0)
            # bytearray and memoryview are written as bytes: only where a byte may be the mark of bytes, look further.
            if 0xC4 in data or 0xC5 in data or 0xC6 in data:
                _check_buffers(value)
        except RecursionError:
            raise EncodingError("the value is nested too deeply to be stored") from None
        check_size(data, self._max_bytes)
        if len(data) > self._max_elements:
            self.loads(data, context)  # too many elements are refused here, and not when it is read
        return data

    def loads(self, data: bytes, context: EntryContext) -> Any:
        """Return a new value. Raises `EncodingError`; a payload that is too large is refused before decoding."""
        check_size(data, self._max_bytes)
        bounded = len(data) > self._max_elements  # so many bytes hold at most as many elements
        reader = _Reader(self._by_code, self._max_elements if bounded else None)
        try:
            return reader.value(data, 0)
        except EncodingError:
            raise
        except Exception as error:  # noqa: BLE001 - any error of a kind means that the bytes are not its own
            if reader.refused is not None:  # the unpacker has only its text
                raise reader.refused from None
            raise EncodingError(f"the payload is no extended MessagePack: {type_name(type(error))}") from None

    def _pack(self, value: Any, depth: int) -> bytes:
        extend = partial(self._extension, depth + 1)
        try:
            return ormsgpack.packb(value, extend, EXACT_TYPES)
        except TypeError as error:
            if isinstance(error.__cause__, EncodingError):
                raise error.__cause__ from None
            prepared = _prepared(value, 0)
            if prepared is value:
                raise EncodingError(f"extended cannot store the value: {error}") from None
        try:
            return ormsgpack.packb(prepared, extend, EXACT_TYPES)
        except TypeError as error:
            if isinstance(error.__cause__, EncodingError):
                raise error.__cause__ from None
            raise EncodingError(f"extended cannot store the value: {error}") from None

    def _extension(self, depth: int, value: Any) -> ormsgpack.Ext:
        kind = self._by_class.get(type(value))
        if kind is None:
            raise EncodingError(
                f"a value of type {type_name(type(value))} cannot be stored: store its plain data, such as a dict"
            )
        if depth > _DEEPEST:
            raise EncodingError(f"the value is nested over {_DEEPEST} deep")
        return ormsgpack.Ext(kind.code, self._pack(kind.parts(value), depth))


class _Reader:
    """Reads one payload within a number of elements, or any number where the payload is short."""

    def __init__(self, kinds: dict[int, Kind], left: int | None) -> None:
        self._kinds = kinds
        self._left = left
        self.refused: EncodingError | None = None
        """Why an extension was refused."""

    def value(self, data: bytes, depth: int) -> Any:
        """Return the value of `data`, which lies inside `depth` extensions."""
        if depth > _DEEPEST:
            raise EncodingError(f"the payload is nested over {_DEEPEST} deep")
        if self._left is not None:
            self._left -= count_elements(data, self._left)
        return ormsgpack.unpackb(data, ext_hook=lambda code, inside: self._built(code, inside, depth + 1))

    def _built(self, code: int, inside: bytes, depth: int) -> Any:
        try:
            return self._kinds[code].build(self.value(inside, depth))
        except EncodingError as error:
            self.refused = error
            raise


def _prepared(value: Any, depth: int) -> Any:
    """Return `value` with large ints and dicts that have other keys than str replaced, or itself if there are none."""
    if depth > 254:
        raise EncodingError("the value is nested over 254 deep")
    if type(value) is int:
        return value if -(2**63) <= value < 2**64 else _LargeInt(value)
    if type(value) is list:
        made = [_prepared(part, depth + 1) for part in value]
        return made if any(new is not old for new, old in zip(made, value, strict=True)) else value
    if type(value) is dict:
        parts = {key: _prepared(part, depth + 1) for key, part in value.items()}
        if any(type(key) is not str for key in parts):
            return _Pairs([[_prepared(key, depth + 1), part] for key, part in parts.items()])
        return parts if any(parts[key] is not value[key] for key in parts) else value
    return value


def _check_buffers(value: Any) -> None:
    """Return if no part of `value` is bytes that can change, which would come back as `bytes`."""
    kind = type(value)
    if kind is dict:
        for part in value.values():
            _check_buffers(part)
    elif kind in (list, tuple):
        for part in value:
            _check_buffers(part)
    elif kind in (bytearray, memoryview):
        raise EncodingError(f"a value of type {type_name(kind)} cannot be stored as it is: store bytes(…)")
