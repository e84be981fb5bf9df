"""Order: the words of weight stand in the same order. From savings to checking is not from checking to savings."""

from __future__ import annotations

from cachecore_llm.similar.laws.pairing import aligned, differ
from cachecore_llm.similar.laws.reading import Reading


def disagreement(a: Reading, b: Reading) -> str | None:
    """Return where the order of two texts parts, else None."""
    return None if aligned(a, b) else differ(a.values, b.values)
