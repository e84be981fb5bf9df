"""Persons: `I` and `you` stand in the same order in both texts, unless one names no person at all.

`What is my name?` is not `What is your name?`. The subject of a question with `how` says nothing: `How do you …`,
`How do I …` and `How to …` ask the same.
"""

from __future__ import annotations

from itertools import groupby

from cachecore_llm.similar.laws.reading import Reading
from cachecore_llm.similar.laws.vocabulary import FIRST, SECOND


def disagreement(a: Reading, b: Reading) -> str | None:
    """Return the persons of two English texts if both name some and differ, else None."""
    if a.language != "en" or b.language != "en":
        return None
    here, there = _persons(a), _persons(b)
    return f"{' '.join(here)} / {' '.join(there)}" if here and there and here != there else None


def _persons(reading: Reading) -> list[str]:
    named = ["I" if word in FIRST else "you" for word in reading.light if word in FIRST | SECOND]
    return [person for person, _ in groupby(named)]
