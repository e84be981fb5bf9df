"""Order: the words of weight stand in the same order. From savings to checking is not from checking to savings.

Six moves change no order, as each carries its words whole: the two sides of `and`, `or`, `vs` (`between A and B`,
`between B and A`); what is said of it (`Which A is best`, `What is the best A`); the two phrases at the end, if their
prepositions differ (`from A to B`, `to B from A`); the preposition of a question (`At which A …`, `Which A … at`); a
word that asks, at the end (`…, why?`); and the one `not` of a text of one clause, that the one joins to its auxiliary
(`Why doesn't A`, `Why does A not`).
"""

from __future__ import annotations

from cachecore_llm.similar.laws.moves import moved
from cachecore_llm.similar.laws.pairing import alike, differ, reconciled
from cachecore_llm.similar.laws.reading import Reading


def disagreement(a: Reading, b: Reading) -> str | None:
    """Return where the order of two texts parts, else None."""
    mine, other = reconciled(a, b)
    if alike(mine, other):
        return None
    if a.language == b.language == "en" and (moved(mine, other) or moved(other, mine)):
        return None
    return differ([one.value for one in mine], [one.value for one in other]) or "forms"
