"""`json`: plain data as UTF-8 text, for entries that people or other programs are to read.

Without bytes; integers may be of any size. Written and read by msgspec where it is installed, in half the time of the
standard library, whose bytes and values are the same: whatever msgspec might treat in another way is left to that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from itertools import accumulate
from math import isfinite
from typing import Any, Final, NoReturn

import ormsgpack

from cachecore.contract.errors import EncodingError
from cachecore.contract.options import MIB
from cachecore.contract.protocols import EntryContext
from cachecore.encoding.plain import SCALARS_WITHOUT_BYTES, check_plain, too_many_elements
from cachecore.serializers.limits import check_limit, check_size
from cachecore.serializers.msgpack import EXACT_TYPES
from cachecore.serializers.shape import MAX_ELEMENTS

_ENCODE: Callable[[Any], bytes] | None = None
_DECODE: Callable[[bytes], Any] | None = None
try:
    from msgspec.json import Decoder, Encoder
except ImportError:
    pass
else:
    _ENCODE, _DECODE = Encoder().encode, Decoder().decode

MAX_DEPTH: Final = 254
"""The deepest nesting; that of MessagePack, so that a value fits both or neither."""

_SCALARS: Final = SCALARS_WITHOUT_BYTES - {float}
_NOT_MARKS = bytes(set(range(256)) - set(b'",:[]{}'))
_SLICE_BYTES = 64 * 1024
_LONG = 16 * 1024
"""Bytes from which on it pays to look for an end before decoding."""
_ESCAPES = re.compile(rb"\\*+.?", re.DOTALL)
_STRINGS = re.compile(rb'"[^"]*+"')
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_ENDS = {b'"': b'"', b"[": b"]", b"{": b"}"}
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


class JsonSerializer:
    """Serializer of plain data without bytes: None, bool, int, float, str, lists, dicts with str keys.

    Accepted values come back equal, type for type. All others are refused: NaN and infinities, tuples,
    subclasses, bytes, keys that are not str, text with lone surrogates, nesting over 254.

    Args:
        max_bytes: the largest payload that is made or read.
        max_elements: the most elements of one value, keys of dicts included; each may take 64 bytes of memory.
    """

    name: Final = "json"

    def __init__(self, *, max_bytes: int = 8 * MIB, max_elements: int = MAX_ELEMENTS) -> None:
        self._max_bytes = check_limit("max_bytes", max_bytes)
        self._max_elements = check_limit("max_elements", max_elements)

    def __repr__(self) -> str:
        return "JsonSerializer()"

    def dumps(self, value: Any, context: EntryContext) -> bytes:
        """Return the bytes of `value`. Raises `EncodingError` if it would not come back as it is."""
        data = _written_soon(value)
        if data is None:
            floats: list[float] = []
            check_plain(value, self._max_elements, scalars=_SCALARS, floats=floats)
            data = _written(value, floats)
        check_json_shape(data, self._max_elements)
        if len(data) > self._max_bytes:
            check_size(data, self._max_bytes)
        return data

    def loads(self, data: bytes, context: EntryContext) -> Any:
        """Return a new value. Raises `EncodingError`; a payload that is too large is refused before decoding."""
        if len(data) > self._max_bytes:
            check_size(data, self._max_bytes)
        if len(data) > _LONG and _is_cut_off(data):
            raise EncodingError("the payload is no JSON")
        check_json_shape(data, self._max_elements)
        if _DECODE is not None:
            try:
                return _DECODE(data)
            except (ValueError, RecursionError):
                pass  # no JSON, or one of the few texts that only the standard library reads, such as `1e400`
        try:
            return _DECODER.decode(str(data, "utf-8"))
        except (ValueError, RecursionError):  # the decoder's own message quotes the text
            raise EncodingError("the payload is no JSON") from None


def _written_soon(value: Any) -> bytes | None:
    """Return the text of plain `value` without bytes, floats and large ints; None where that takes a closer look.

    ormsgpack refuses all that is not plain, in a fifth of the time of a look at each part. It takes bytes and floats;
    each leaves its mark in what it writes, where a mark may be text as well.
    """
    if _ENCODE is None:
        return None
    try:
        packed = ormsgpack.packb(value, None, EXACT_TYPES)
        if 0xC4 in packed or 0xC5 in packed or 0xC6 in packed or 0xCA in packed or 0xCB in packed:
            return None
        return _ENCODE(value)
    except Exception:  # noqa: BLE001 - said by the closer look, whatever it is
        return None


def _written(value: Any, floats: list[float]) -> bytes:
    """Return the text of plain `value` with all `floats` that are in it. Raises `EncodingError`."""
    if _ENCODE is not None and (not floats or _written_alike(floats)):
        try:
            return _ENCODE(value)
        except (ValueError, OverflowError, RecursionError):
            pass  # an int of more than 64 bits, or a value that cannot be stored, told below
    try:
        return _ENCODER.encode(value).encode()
    except UnicodeEncodeError:
        raise EncodingError("text with lone surrogates cannot be stored") from None
    except RecursionError:
        raise EncodingError(f"nested deeper than {MAX_DEPTH}") from None
    except ValueError:
        raise EncodingError("a NaN, an infinity or an int of more than 4,300 digits cannot be stored") from None


def _written_alike(floats: list[float]) -> bool:
    """Return whether Python writes all `floats` without an exponent, as msgspec does, which writes null for a NaN."""
    if not isfinite(sum(floats)):
        return False
    sizes = list(filter(None, map(abs, floats)))
    return not sizes or (min(sizes) >= 1e-4 and max(sizes) < 1e16)


def _is_cut_off(data: bytes) -> bool:
    """Tell from its ends whether a text has none, which the decoder finds out when it has made everything before."""
    last = data[-1:]
    if last != _ENDS.get(data[:1], last):
        return not last.isspace()
    before = data[-1024:-1]
    return data[:1] == b'"' and (not before or (len(before) - len(before.rstrip(b"\\"))) % 2 == 1)


def check_json_shape(data: bytes, max_elements: int) -> None:
    """Return if the JSON text `data` has at most `max_elements` elements and 254 levels, told without parsing it.

    About 1 ms for each MiB; more only where the text within it looks like structure. Raises `EncodingError`.
    """
    # Every element takes a byte at least.
    few = len(data) < max_elements or _at_most(data) <= max_elements
    if few and data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return
    elements = 1
    depth = 0
    for structure in _without_text(data, max_elements):
        elements += _at_most(structure) - 1
        if elements > max_elements:
            raise too_many_elements(max_elements)
        levels = [*accumulate(map(_STEPS.__getitem__, structure.translate(None, _NOT_BRACKETS)), initial=depth)]
        if max(levels) > MAX_DEPTH:
            raise EncodingError(f"nested deeper than {MAX_DEPTH}")
        depth = levels[-1]


def _without_text(data: bytes, max_elements: int) -> Iterator[bytes]:
    """Yield the commas, colons and brackets of `data` that stand outside of its strings, right up to where it is JSON.

    Slice by slice, so that little is made of a bomb before it is known for one, and each step in C: one by one, the
    strings would be a bomb of their own.
    """
    start = quotes = 0
    within = False  # a string
    while start < len(data):
        end = start + _SLICE_BYTES
        if data[end - 1 : end] == b"\\" and (more := _ESCAPES.match(data, end)):
            end = more.end()  # or the escaped character would be taken for itself
        # First escapes, which could hide a quote; then all else, which makes most strings empty; then empty strings.
        marks = data[start:end].replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _NOT_MARKS)
        marks = (b'"' + marks if within else marks).replace(b'""', b"")
        count = marks.count(b'"')
        quotes += count - within
        if quotes > 2 * max_elements:
            raise too_many_elements(max_elements)
        within = count % 2 == 1
        if within:  # the part so far is text
            marks = marks[: marks.rindex(b'"')]
        yield _STRINGS.sub(b"", marks)
        start = end


def _at_most(text: bytes) -> int:
    # Each element but the first follows a comma, a colon, or the opening of its container.
    return 1 + text.count(b",") + text.count(b":") + text.count(b"[") + text.count(b"{")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_DECODER = json.JSONDecoder(parse_constant=_refuse)
