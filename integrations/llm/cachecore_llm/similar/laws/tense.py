"""Tense and ability: both texts speak of the past, of the future, or of neither; and of what can be, or of what is.

`Who was …` is not `Who is …`, and `Can dogs …` is not `Do dogs …`. In a question with `how` ability says nothing:
`How can I …` and `How do I …` ask the same. Obligation (`must`, `should`, `need`) is a word of weight.
"""

from __future__ import annotations

from cachecore_llm.similar.laws.reading import Reading
from cachecore_llm.similar.laws.vocabulary import ABILITY, FUTURE, PAST


def disagreement(a: Reading, b: Reading) -> str | None:
    """Return the tenses or abilities of two English texts if they differ, else None."""
    here, there = _told(a), _told(b)
    if a.asks_how and b.asks_how:
        here, there = here - {"ability"}, there - {"ability"}
    if here == there:
        return None
    return f"{', '.join(sorted(here)) or 'neither'} / {', '.join(sorted(there)) or 'neither'}"


def _told(reading: Reading) -> set[str]:
    if reading.language != "en":
        return set()
    words = set(reading.light)
    told = {name for name, marks in (("past", PAST), ("future", FUTURE)) if words & marks}
    return told | ({"ability"} if reading.able or words & ABILITY else set())
