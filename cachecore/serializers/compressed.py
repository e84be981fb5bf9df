"""`compressed`: another serializer's bytes, made smaller with zstd where that helps. Needs the extra `zstd`.

A payload is one byte that says which, then the inner payload (0) or one zstd frame of it (1). A frame must say how
large it is inflated, be the only one, and need no more memory than the largest payload: a frame that claims more is
refused before a byte is inflated, and one that inflates to more than it claimed is refused by zstd itself.

Compress before encrypting, never after: `EncryptedSerializer(inner=CompressedSerializer())`. The stored length then
tells something about the content; where an attacker can both choose a part of a value and see lengths, do not
compress.
"""

from __future__ import annotations

import copy
import threading
from typing import TYPE_CHECKING, Any, Final, Self

from cachecore.contract.errors import EncodingError, OptionsError
from cachecore.contract.options import MIB
from cachecore.contract.protocols import EntryContext, Serializer
from cachecore.serializers.limits import check_limit, check_size
from cachecore.serializers.msgpack import MsgpackSerializer

if TYPE_CHECKING:
    import zstandard

_STORED: Final = b"\x00"
_ZSTD: Final = b"\x01"
_FRAME_MAGIC: Final = b"\x28\xb5\x2f\xfd"


class CompressedSerializer:
    """Serializer that wraps another. Safe to share between threads: each has its own contexts of zstd.

    Args:
        inner: the serializer that makes the bytes.
        level: 1 (fast) to 19 (small); 3 shrinks JSON-like text to about half at 100 MB/s or more.
        min_bytes: smaller payloads are stored as they are; so are payloads that do not get smaller.
        max_bytes: the largest inner payload that is made or read.
    """

    def __init__(
        self,
        *,
        inner: Serializer | None = None,
        level: int = 3,
        min_bytes: int = 1024,
        max_bytes: int = 8 * MIB,
    ) -> None:
        try:
            import zstandard
        except ImportError:
            raise OptionsError("compressing needs zstd: pip install 'cachecore-framework[zstd]'") from None
        if check_limit("level", level) > 19:
            raise OptionsError(f"level must be from 1 to 19, not {level}")
        self.inner = inner if inner is not None else MsgpackSerializer()
        self._min_bytes = check_limit("min_bytes", min_bytes, 0)
        self._max_bytes = check_limit("max_bytes", max_bytes)
        self._level = level
        self._zstd = zstandard
        self._local = threading.local()
        # A window never needs to be larger than the inflated payload; zstd's smallest is 1 KiB.
        self._max_window = max(1024, 1 << (max_bytes - 1).bit_length())
        self.name = f"zstd+{self.inner.name}"

    def __repr__(self) -> str:
        return f"CompressedSerializer(inner={self.inner!r}, level={self._level})"

    def around(self, inner: Serializer) -> Self:
        """Return the same wrapper around another serializer."""
        other = copy.copy(self)
        other.inner, other.name = inner, f"zstd+{inner.name}"
        return other

    def dumps(self, value: Any, context: EntryContext) -> bytes:
        """Return the bytes of `value`. Raises `EncodingError` as the inner serializer does, and over `max_bytes`."""
        data = self.inner.dumps(value, context)
        check_size(data, self._max_bytes)
        if len(data) >= self._min_bytes:
            small = self._compressor().compress(data)
            if len(small) < len(data):
                return _ZSTD + small
        return _STORED + data

    def loads(self, data: bytes, context: EntryContext) -> Any:
        """Return a new value. Raises `EncodingError`; a payload that would inflate too far is never inflated."""
        kind = data[:1]
        if kind == _STORED:
            inner = data[1:]
            check_size(inner, self._max_bytes)
        elif kind == _ZSTD:
            inner = self._inflate(data[1:])
        else:
            raise EncodingError("the payload is neither stored nor compressed")
        return self.inner.loads(inner, context)

    def _inflate(self, frame: bytes) -> bytes:
        check_size(frame, self._max_bytes)
        if frame[:4] != _FRAME_MAGIC:  # a skippable frame, or none
            raise EncodingError("the payload is no zstd frame")
        try:
            said = self._zstd.get_frame_parameters(frame)
            # An unknown size is the largest number there is, and so refused as too large.
            if said.content_size > self._max_bytes or said.window_size > self._max_window or said.dict_id:
                raise EncodingError(f"the payload inflates to more than {self._max_bytes} bytes, or does not say")
            # The library takes a size of 0 for an unknown one, hence the bound.
            inflated = self._decompressor().decompress(
                frame, max_output_size=max(1, said.content_size), allow_extra_data=False
            )
        except self._zstd.ZstdError as error:
            raise EncodingError(f"the payload is no whole zstd frame: {error}") from None
        if len(inflated) != said.content_size:
            raise EncodingError("the payload inflates to another size than it says")
        return inflated

    def _compressor(self) -> zstandard.ZstdCompressor:
        compressor: zstandard.ZstdCompressor | None = getattr(self._local, "compressor", None)
        if compressor is None:
            compressor = self._local.compressor = self._zstd.ZstdCompressor(level=self._level)
        return compressor

    def _decompressor(self) -> zstandard.ZstdDecompressor:
        decompressor: zstandard.ZstdDecompressor | None = getattr(self._local, "decompressor", None)
        if decompressor is None:
            decompressor = self._local.decompressor = self._zstd.ZstdDecompressor(max_window_size=self._max_window)
        return decompressor
