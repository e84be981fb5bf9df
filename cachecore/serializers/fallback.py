"""A serializer for the values of a type that was only annotated: most of them fit, and the others are kept as well.

A payload is one byte that says which of two serializers wrote the rest: `first`, or `second` for a value that `first`
refuses.
"""

from __future__ import annotations

from typing import Any, Final

from cachecore.contract.errors import EncodingError, TooLargeError
from cachecore.contract.protocols import EntryContext, Serializer

_FIRST: Final = b"\x00"
_SECOND: Final = b"\x01"


class FallbackSerializer:
    """Serializer that uses `first` for the values it takes and `second` for others."""

    def __init__(self, first: Serializer, second: Serializer) -> None:
        self._first = first
        self._second = second
        self.name: Final = f"{first.name}|{second.name}"

    def __repr__(self) -> str:
        return f"FallbackSerializer({self._first!r}, {self._second!r})"

    def dumps(self, value: Any, context: EntryContext) -> bytes:
        """Return the bytes of `value`. Raises `EncodingError`, with both reasons, if neither serializer takes it."""
        try:
            return _FIRST + self._first.dumps(value, context)
        except EncodingError as refused:
            try:
                return _SECOND + self._second.dumps(value, context)
            except TooLargeError:
                raise
            except EncodingError as error:
                if isinstance(refused, TooLargeError):  # a value of the type; the other serializer does not know it
                    raise refused from None
                raise EncodingError(f"{refused}; {error}") from None

    def loads(self, data: bytes, context: EntryContext) -> Any:
        """Return a new value. Raises `EncodingError` as the serializer that wrote it does."""
        kind = data[:1]
        if kind == _FIRST:
            return self._first.loads(data[1:], context)
        if kind == _SECOND:
            return self._second.loads(data[1:], context)
        raise EncodingError("the payload does not say which serializer wrote it")
