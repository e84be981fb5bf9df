"""Which keys of the store hold a mark of ours, a tombstone or a claim, and no answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from cachecore.contract.protocols import CacheBackend
from cachecore.encoding.claim import CLAIM_BYTES
from cachecore.encoding.entry import TOMBSTONE_BYTES, is_mark

_AS_LONG: Final = (TOMBSTONE_BYTES, CLAIM_BYTES)


async def marked(backend: CacheBackend, keys: Sequence[str], sizes: Sequence[int]) -> set[str]:
    """Return the keys that hold no answer; `sizes` are the lengths of their values. Raises BackendError.

    A value as long as a mark is read: it may be a small entry.
    """
    doubtful = [key for key, size in zip(keys, sizes, strict=True) if size in _AS_LONG]
    values = await backend.get_many(doubtful) if doubtful else []
    return {key for key, value in zip(doubtful, values, strict=True) if value is None or is_mark(value, key)}
