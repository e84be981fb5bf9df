"""Negation: both texts negate as often, with the same words. `doesn't` is `does not`; `never` is another negation."""

from __future__ import annotations

from cachecore_llm.similar.laws.pairing import differ
from cachecore_llm.similar.laws.reading import Reading
from cachecore_llm.similar.laws.vocabulary import NEGATIONS


def disagreement(a: Reading, b: Reading) -> str | None:
    """Return the first negation in which two texts differ, else None. The negated words are judged by order."""
    return differ([one for one in a.values if one in NEGATIONS], [one for one in b.values if one in NEGATIONS])
