"""Words: every word of weight has its partner in the other text. One that is added or exchanged asks something else.

Texts without a word of weight, such as `okay thanks`, have the same words.
"""

from __future__ import annotations

from cachecore_llm.similar.laws.pairing import aligned
from cachecore_llm.similar.laws.pairing import unpaired as left_over
from cachecore_llm.similar.laws.reading import Reading
from cachecore_llm.similar.laws.tokens import tokens


def disagreement(a: Reading, b: Reading) -> str | None:
    """Return the first words of two texts that have no partner, else None."""
    if not a.terms and not b.terms:
        words = [[token.folded for token in tokens(one.text)] for one in (a, b)]
        return None if words[0] == words[1] else "no word of weight"
    if aligned(a, b):
        return None
    mine, other = left_over(a, b)
    if not mine and not other:
        return None
    return f"{mine[0].value if mine else 'nothing'} / {other[0].value if other else 'nothing'}"
