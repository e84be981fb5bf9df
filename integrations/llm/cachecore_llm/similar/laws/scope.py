"""Scope: words of extent, time and condition (`only`, `except`, `since`) stand in both texts, in one order."""

from __future__ import annotations

from cachecore_llm.similar.laws.pairing import differ
from cachecore_llm.similar.laws.reading import Reading
from cachecore_llm.similar.laws.vocabulary import SCOPE


def disagreement(a: Reading, b: Reading) -> str | None:
    """Return the first word of scope in which two texts differ, else None."""
    return differ([one for one in a.values if one in SCOPE], [one for one in b.values if one in SCOPE])
