"""`json`: plain data as UTF-8 text, for entries that people or other programs are to read.

Slower than MessagePack, most of all for long text with many escapes, and without bytes. Integers may be of any size.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import accumulate
from typing import Any, Final, NoReturn

from cachecore.contract.errors import EncodingError
from cachecore.contract.options import MIB
from cachecore.contract.protocols import EntryContext
from cachecore.encoding.plain import SCALARS_WITHOUT_BYTES, check_plain, too_many_elements
from cachecore.serializers.limits import check_limit, check_size
from cachecore.serializers.shape import MAX_ELEMENTS

MAX_DEPTH: Final = 254
"""The deepest nesting; that of MessagePack, so that a value fits both or neither."""

_NOT_MARKS = bytes(set(range(256)) - set(b'",:[]{}'))
_SLICE_BYTES = 64 * 1024
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
        check_plain(value, self._max_elements, scalars=SCALARS_WITHOUT_BYTES)
        try:
            data = _ENCODER.encode(value).encode()
        except UnicodeEncodeError:
            raise EncodingError("text with lone surrogates cannot be stored") from None
        except RecursionError:
            raise EncodingError(f"nested deeper than {MAX_DEPTH}") from None
        except ValueError:
            raise EncodingError("a NaN, an infinity or an int of more than 4,300 digits cannot be stored") from None
        check_size(data, self._max_bytes)
        check_json_shape(data, self._max_elements)
        return data

    def loads(self, data: bytes, context: EntryContext) -> Any:
        """Return a new value. Raises `EncodingError`; a payload that is too large is refused before decoding."""
        check_size(data, self._max_bytes)
        if _is_cut_off(data):
            raise EncodingError("the payload is no JSON")
        check_json_shape(data, self._max_elements)
        try:
            return _DECODER.decode(str(data, "utf-8"))
        except (ValueError, RecursionError):  # the decoder's own message quotes the text
            raise EncodingError("the payload is no JSON") from None


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
    if _at_most(data) <= max_elements and data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
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
