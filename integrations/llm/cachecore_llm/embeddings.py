"""Vectors of texts, as applications see them."""

from __future__ import annotations

import base64
import sys
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cachecore_llm.errors import UnusableAnswerError
from cachecore_llm.flow.batch import Batch
from cachecore_llm.response import Usage, usage_of

_FLOAT32: Final = "f"


@dataclass(frozen=True, slots=True, kw_only=True)
class Embeddings:
    """One vector for each input, in their order."""

    vectors: tuple[tuple[float, ...], ...]
    model: str = ""
    usage: Usage | None = None
    """The tokens billed now; nothing if all were stored."""
    cached: tuple[bool, ...] = ()
    """For each input, whether its vector was paid for before, or by another caller."""
    provider: str = ""

    def __len__(self) -> int:
        return len(self.vectors)

    def __iter__(self) -> Iterator[tuple[float, ...]]:
        return iter(self.vectors)

    def __getitem__(self, place: int) -> tuple[float, ...]:
        return self.vectors[place]


def embeddings_of(batch: Batch) -> Embeddings:
    """Return the vectors of a joined answer. Raises UnusableAnswerError if one of them cannot be read."""
    body = batch.body
    entries: Sequence[Any] = body.get("data") or ()
    vectors = tuple(_vector(entry.get("embedding"), batch.provider) for entry in entries)
    return Embeddings(
        vectors=vectors,
        model=body.get("model") or "",
        usage=usage_of(body.get("usage") or {}),
        cached=tuple(place not in batch.computed for place in range(len(vectors))),
        provider=batch.provider,
    )


def _vector(given: Any, provider: str) -> tuple[float, ...]:
    """Return numbers that came as a list, or as base64 of 32-bit floats, little-endian."""
    if isinstance(given, list):
        return tuple(given)
    try:
        numbers = array(_FLOAT32, base64.b64decode(given, validate=True))
    except (TypeError, ValueError):
        raise UnusableAnswerError(provider, "a vector that is neither numbers nor base64") from None
    if sys.byteorder == "big":
        numbers.byteswap()
    return tuple(numbers)
