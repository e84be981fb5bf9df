"""`msgpack`, the default: plain data as MessagePack, through ormsgpack both ways.

ormsgpack packs in 0.4 and unpacks in 0.6 of the time of the library `msgpack`, makes nothing from a length that is
only claimed, and refuses extensions, deep nesting and keys that are not text by itself. Values that it would store
under another type (a tuple, a dataclass, a subclass of str) are refused here.
"""

from __future__ import annotations

from typing import Any, Final

import ormsgpack

from cachecore.contract.errors import EncodingError
from cachecore.contract.options import MIB
from cachecore.contract.protocols import EntryContext
from cachecore.encoding.plain import check_plain
from cachecore.serializers.limits import check_limit, check_size
from cachecore.serializers.shape import MAX_ELEMENTS, check_shape

EXACT_TYPES: Final = (
    ormsgpack.OPT_PASSTHROUGH_DATACLASS
    | ormsgpack.OPT_PASSTHROUGH_DATETIME
    | ormsgpack.OPT_PASSTHROUGH_ENUM
    | ormsgpack.OPT_PASSTHROUGH_SUBCLASS
    | ormsgpack.OPT_PASSTHROUGH_TUPLE
    | ormsgpack.OPT_PASSTHROUGH_UUID
)


class MsgpackSerializer:
    """Serializer of plain data: None, bool, int (64 bits), float, str, bytes, lists, dicts with str keys.

    Accepted values come back equal, type for type; NaN and -0.0 keep their bits. All others are refused:
    tuples, subclasses, dates, sets, keys that are not str, text with lone surrogates, nesting over 254.

    Args:
        max_bytes: the largest payload that is made or read.
        max_elements: the most elements of one value, keys of dicts included; each may take 64 bytes of memory.
    """

    name: Final = "msgpack"

    def __init__(self, *, max_bytes: int = 8 * MIB, max_elements: int = MAX_ELEMENTS) -> None:
        self._max_bytes = check_limit("max_bytes", max_bytes)
        self._max_elements = check_limit("max_elements", max_elements)

    def __repr__(self) -> str:
        return "MsgpackSerializer()"

    def dumps(self, value: Any, context: EntryContext) -> bytes:
        """Return the bytes of `value`. Raises `EncodingError` if it would not come back as it is."""
        try:
            data = ormsgpack.packb(value, None, EXACT_TYPES)
        except TypeError as error:
            raise EncodingError(f"msgpack cannot store the value: {error}") from None
        # bytearray and memoryview are written as bytes: only where a byte may be the mark of bytes, look at each value.
        if 0xC4 in data or 0xC5 in data or 0xC6 in data:
            check_plain(value, self._max_elements, keys_are_text=True)
        if len(data) > self._max_bytes:
            check_size(data, self._max_bytes)
        if len(data) > self._max_elements:
            check_shape(data, self._max_elements)
        # ormsgpack shrinks a larger buffer where it lies: the hole behind it would stay beside each stored entry.
        return memoryview(data).tobytes()

    def loads(self, data: bytes, context: EntryContext) -> Any:
        """Return a new value. Raises `EncodingError`; a payload that is too large is refused before decoding."""
        if len(data) > self._max_bytes:
            check_size(data, self._max_bytes)
        if len(data) > self._max_elements:
            check_shape(data, self._max_elements)
        try:
            return ormsgpack.unpackb(data)
        except ValueError as error:
            raise EncodingError(f"the payload is no plain MessagePack: {error}") from None
