"""Names: a word with a capital inside a sentence pairs with that very word alone, and needs it."""

from __future__ import annotations

from collections import Counter

from cachecore_llm.similar.laws.reading import Reading


def disagreement(a: Reading, b: Reading) -> str | None:
    """Return a name of one text that the other lacks, else None."""
    for mine, other in ((a, b), (b, a)):
        lacking = Counter(term.value for term in mine.terms if term.is_name) - Counter(other.values)
        if lacking:
            return f"{min(lacking)} / nothing"
    return None
