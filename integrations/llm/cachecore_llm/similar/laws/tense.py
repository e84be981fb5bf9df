"""Tense, ability and voice: both texts speak of the past, of the future, or of neither; of what can be, or of what is;
of what is or of what is had; and where a verb stands in two forms, both have a form of `be` beside it or neither.

`Who was …` is not `Who is …`, and `Can dogs …` is not `Do dogs …`. In a question with `how` ability and future say
nothing, in one with `where … I` ability: `How can I …` and `How do I …` ask the same. `Who has …` is not `Who is …`,
`Can I be refunded?` not `Can I refund?`. Obligation (`must`, `should`, `need`) is a word of weight.
"""

from __future__ import annotations

from cachecore_llm.similar.laws.reading import Reading
from cachecore_llm.similar.laws.vocabulary import ABILITY, BEING, FUTURE, HAVING, PAST


def disagreement(a: Reading, b: Reading) -> str | None:
    """Return the tenses or abilities of two English texts if they differ, else None."""
    here, there = _told(a), _told(b)
    if a.asks_how and b.asks_how:
        here, there = here - {"ability", "future"}, there - {"ability", "future"}
    elif "where" in a.values and "where" in b.values and "i" in a.light and "i" in b.light:
        here, there = here - {"ability"}, there - {"ability"}
    if {_verb(a), _verb(b)} == {"be", "have"}:
        return f"{_verb(a)} / {_verb(b)}"
    if here == there:
        voiced = a.values == b.values or a.language != "en" or b.language != "en"
        return None if voiced or _is_passive(a) == _is_passive(b) else "be / nothing"
    return f"{', '.join(sorted(here)) or 'neither'} / {', '.join(sorted(there)) or 'neither'}"


def _told(reading: Reading) -> set[str]:
    if reading.language != "en":
        return set()
    words = set(reading.light)
    told = {name for name, marks in (("past", PAST), ("future", FUTURE)) if words & marks}
    return told | ({"ability"} if reading.able or words & ABILITY else set())


def _verb(reading: Reading) -> str | None:
    """Return which of `be` and `have` an English text has, if only one."""
    words = set(reading.light) if reading.language == "en" else set()
    be, have = bool(words & BEING), bool(words & HAVING)
    return None if be == have else "be" if be else "have"


def _is_passive(reading: Reading) -> bool:
    return not BEING.isdisjoint(reading.light)
