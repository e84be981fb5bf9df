"""Citations: a text that a colon introduces is the same in both, to the character.

`Translate into German: the dog`, `Fix the grammar: he go` and `Reply to this message: Thanks!` ask for something to be
done with a text. Its articles, its politeness, its commas and its capitals count as much as its other words; the space
around it says nothing. Where no word of weight stands before the colon (`Please tell me: how do I …`) none is cited.
"""

from __future__ import annotations

from cachecore_llm.similar.laws.reading import Reading


def disagreement(a: Reading, b: Reading) -> str | None:
    """Return the texts behind the colons of two questions if they are not the same, else None."""
    return None if a.cited == b.cited else f"{a.cited or 'nothing'} / {b.cited or 'nothing'}"
