"""Tense, ability and voice: both texts speak of the past, of the future, or of neither; of an ability, a condition or a
fact; of being, of existence, of having or of doing; and a verb stands in both in the active or in both in the passive.

`Who was …` is not `Who is …`, `Can dogs …` not `Do dogs …`, and `Would you like …` not `Do you like …`. Where the
forms make no difference they say nothing: condition and future in a question with `how`, and ability, but where it
asks for a number (`How much can I …`, `How much do I …`); ability in one with `where` and `I`, `you` or `one`, or in a
request against an order (`Can you write …`, `Write …`); the future where `if` puts a case (`What will happen if …`).
The perfect is a past (`has been declined`, `was declined`), and the progressive the present where a cause is asked for
or something fails (`Why is it rising`, `Why does it rise`; not `Are you smoking`, `Do you smoke`, nor `Is it being
paid`, `Is it paid`). With `since`, or `for` and a number, the perfect says what still is (`I have worked for 2 years`,
`I worked for 2 years`). Of two texts with as many auxiliaries each of these tells its tense: `I was hit and am insured`
is not `I was hit and was insured`, nor `I have red spots` `I had red spots`. `Who has …` is not
`Who is …`, `What is he like?` not `What does he like?`, `Is there …` not `Is it …`, `Can I have fish?` not `Can I
fish?`, `Can I be refunded?` not `Can I refund?`, `Who is paid?` not `Who paid?`, and `I live in …` not `I lived in …`.
Obligation (`must`, `should`, `need`) is a word of weight.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from cachecore_llm.similar.laws.pairing import paired, unpaired
from cachecore_llm.similar.laws.reading import NOT, Reading
from cachecore_llm.similar.laws.vocabulary import ABILITY, AUXILIARIES, BEING, FUTURE, HAVING, PARTICIPLES, PAST

_ANYBODY: Final = frozenset({"i", "you", "we", "one"})
_MOST: Final = 8
"""Words without an equal that are held against each other; texts with more of them are other questions anyway."""
_DOING: Final = frozenset({"do", "does", "did"})
_PERFECT: Final = frozenset({"has", "have"})
_TENSES: Final = (("past", PAST), ("future", FUTURE), ("ability", ABILITY))
_AUXILIARIES: Final = AUXILIARIES - {"be", "been", "would"}


def disagreement(a: Reading, b: Reading) -> str | None:
    """Return the tenses or abilities of two English texts if they differ, else None."""
    here, there = _told(a), _told(b)
    unsaid = _unsaid(a, b)
    here, there = here - unsaid, there - unsaid
    verbs = {_verb(a), _verb(b)}
    progressive = _goes_on(a, b)
    if progressive and not any(word in a.values and word in b.values for word in ("why", NOT)):
        return "progressive / simple"
    if len(verbs - {None}) > 1 and verbs != {"have", "do"} and not progressive:
        return f"{_verb(a)} / {_verb(b)}"
    if here == there:
        if _exchanges(a, b, unsaid) or (_lasts(a) and _has_perfect(a) != _has_perfect(b)):
            return "one auxiliary / another"
        if _turns(a, b) or _is_done(a, b):
            return "be / nothing"
        if _owns(a) != _owns(b) and unpaired(a, b) == ([], []):
            return "have / nothing"
        return _inflected(a, b, past="past" in here)
    return f"{', '.join(sorted(here)) or 'neither'} / {', '.join(sorted(there)) or 'neither'}"


def _unsaid(a: Reading, b: Reading) -> set[str]:
    """Return what the forms of two texts do not tell, as both ask for a manner, a place or a case."""
    unsaid = {"future", "condition"} if a.asks_how and b.asks_how else set()
    if a.asks_manner and b.asks_manner:
        unsaid.add("ability")
    if (a.requests and b.orders) or (a.orders and b.requests):
        unsaid |= {"ability", "condition"}
    both = set(a.values) & set(b.values)
    if "why" in both:
        unsaid.add("progress")
    if "where" in both and not _ANYBODY.isdisjoint(a.light) and not _ANYBODY.isdisjoint(b.light):
        unsaid.add("ability")
    return unsaid | {"future", "condition"} if "if" in both else unsaid


def _told(reading: Reading) -> set[str]:
    if reading.language != "en":
        return set()
    words = set(reading.light)
    told = {name for name, marks in (("past", PAST), ("future", FUTURE)) if words & marks}
    if _is_perfect(reading, words):
        told.add("past")
    if any(term.before == "being" and term.behind_be and _is_participle(term.value) for term in reading.terms):
        told.add("progress")
    # `What would be the cost` asks what it is, and `Would I pay` whether I do.
    if "'d" in words or ("would" in words and words.isdisjoint(("be", "i", "we"))):
        told.add("condition")
    return told | ({"ability"} if reading.able or words & ABILITY else set())


def _is_perfect(reading: Reading, words: set[str]) -> bool:
    """Return whether a text says that something has been, or has -ed."""
    if words.isdisjoint(("have", "has")) or not words.isdisjoint(_DOING):
        return False
    return "been" in words or any(term.value.endswith("ed") for term in reading.terms)


def _lasts(reading: Reading) -> bool:
    """Return whether an English text tells since when, or for how long."""
    values = reading.values if reading.language == "en" else []
    return "since" in values or any(one == "for" and two[0].isdigit() for one, two in pairwise(values))


def _has_perfect(reading: Reading) -> bool:
    return not _PERFECT.isdisjoint(reading.light)


def _exchanges(a: Reading, b: Reading, unsaid: set[str]) -> bool:
    """Return whether two English texts have as many auxiliaries, and one of them in two tenses.

    `has` and `have` may be those of a perfect, which is a past; `had` is another.
    """
    if a.language != "en" or b.language != "en":
        return False
    mine, other = ([word for word in one.light if word in _AUXILIARIES] for one in (a, b))
    if len(mine) != len(other):
        return False
    for one, two in zip(mine, other, strict=True):
        either = {one, two}
        if not _PERFECT.isdisjoint(either):
            if "had" in either:
                return True
        elif _tense(one, unsaid) != _tense(two, unsaid):
            return True
    return False


def _tense(word: str, unsaid: set[str]) -> str:
    return next((name for name, marks in _TENSES if word in marks and name not in unsaid), "present")


def _verb(reading: Reading) -> str | None:
    """Return which of `be`, `there be`, `have` and `do` an English text has, if only one; `do have` is `have`.

    `How many are in …` is `How many are there in …`.
    """
    words = set(reading.light) if reading.language == "en" else set()
    be, have = bool(words & BEING), bool(words & HAVING)
    if be and not have:
        return None if words & _DOING else "there be" if "there" in words and not reading.asks_how else "be"
    return None if be else "have" if have else "do" if words & _DOING else None


def _goes_on(a: Reading, b: Reading) -> bool:
    """Return whether one of two English texts has a verb in the progressive and the other in a simple form."""
    if a.language != "en" or b.language != "en":
        return False
    known, others = set(a.values), set(b.values)
    mine = [term for term in a.terms if term.value not in others][:_MOST]
    other = [term for term in b.terms if term.value not in known][:_MOST]
    pairs = ((one, two) for one in mine for two in other)
    return any(
        rising.behind_be and not plain.behind_be and rising.value.endswith("ing") and paired(rising, plain)
        for pair in pairs
        for rising, plain in (pair, pair[::-1])
    )


def _turns(a: Reading, b: Reading) -> bool:
    """Return whether a verb in -ed stands beside `be` in the one and in another form without it in the other."""
    if a.language != "en" or b.language != "en" or _is_passive(a) == _is_passive(b):
        return False
    known, others = set(a.values), set(b.values)
    mine = [term for term in a.terms if term.value not in others]
    other = [term for term in b.terms if term.value not in known]
    if max(len(mine), len(other)) > len(a.terms) // 2 + 2:
        return True  # another question anyway
    return any(
        one.value.endswith("ed") != two.value.endswith("ed") and paired(one, two) for one in mine for two in other
    )


def _is_done(a: Reading, b: Reading) -> bool:
    """Return whether only one of two texts has a participle behind `be`: `Who is paid …`, but not `Who paid …`."""
    if a.language != "en" or b.language != "en" or len(a.terms) != len(b.terms):
        return False
    for one, two in zip(a.terms, b.terms, strict=True):
        if one.behind_be == two.behind_be:
            continue
        if one.value.endswith("ing") != two.value.endswith("ing"):
            return False  # the `be` of a progressive: am waking up tired
        done = one if one.behind_be else two
        if one.value == two.value and _is_participle(one.value) and done.before not in _ANYBODY:  # the card I ordered
            return True
    return False


def _owns(reading: Reading) -> bool:
    """Return whether an English text has a `have` that is no auxiliary of a participle: `Can I have fish?`."""
    if reading.language != "en" or HAVING.isdisjoint(reading.light):
        return False
    return not any(_is_participle(term.value) for term in reading.terms)


def _inflected(a: Reading, b: Reading, *, past: bool) -> str | None:
    """Return the verb that is present in one of two texts and past in the other, by its form alone: live, lived."""
    if past or a.language != "en" or b.language != "en":
        return None
    known, others = set(a.values), set(b.values)
    mine = [term for term in a.terms if term.value not in others]
    other = [term for term in b.terms if term.value not in known]
    for one in mine[:_MOST]:
        for two in other[:_MOST]:
            if one.value.endswith("ed") != two.value.endswith("ed") and paired(one, two):
                return f"{one.value} / {two.value}"
    return None


def _is_participle(value: str) -> bool:
    return value.endswith("ed") or value in PARTICIPLES


def _is_passive(reading: Reading) -> bool:
    return not BEING.isdisjoint(reading.light)
