"""Persons: `I` and `you` stand in the same order in both texts, unless one text names no person at all.

`What is my name?` is not `What is your name?`. The subject of a question with `how` or `should` says nothing: `How do
you …`, `How do I …` and `How to …` ask the same, and so do its own words with it: `How do you lower your …`, `How do
I lower my …`. But `How do you verify my …` is not `How do I verify my …`: there the persons tell who verifies. Nor does
the subject say who needs a thing for a purpose (`Do you need a … to …`), nor does the `you` of a request against an
order (`Can you write …`, `Write …`). `Who owes me …` is not `Who do I owe …`: the one is asked for the subject, the
other for the object, as `Who can call me` and `Who can I call`. So do persons and `it`: `Can I hurt it` is not `Can it
hurt me`, nor `What is its name` `What is your name`. `How are you …` asks about the person.
"""

from __future__ import annotations

from itertools import groupby
from typing import Final

from cachecore_llm.similar.laws.pairing import paired
from cachecore_llm.similar.laws.reading import Reading
from cachecore_llm.similar.laws.vocabulary import FIRST, SECOND

_PURPOSE: Final = frozenset({"for", "to"})
_ASKING: Final = frozenset({"who", "what", "which"})
_THING: Final = frozenset({"it", "its"})
_NAMED: Final = frozenset({"i", "we", "you", "it"})


def disagreement(a: Reading, b: Reading) -> str | None:
    """Return the persons of two English texts if both name some and differ, else None."""
    if a.language != "en" or b.language != "en":
        return None
    here, there = _persons(a, request=b.orders), _persons(b, request=a.orders)
    if _asks_subject(a, b) or _asks_subject(b, a) or _turns(a, b):
        return "subject / object"
    mine, other = _beside_it(a), _beside_it(b)
    if mine != other and len(set(mine)) == len(set(other)) > 0:
        return f"{' '.join(mine)} / {' '.join(other)}"
    own = _is_own(a, here) and _is_own(b, there)
    if a.subject and b.subject and _person(a.subject) != _person(b.subject):
        return None if own else f"{a.subject} / {b.subject}"
    if not here or not there or here == there or own:
        return None
    return f"{' '.join(here)} / {' '.join(there)}"


def _persons(reading: Reading, *, request: bool) -> list[str]:
    """Return the persons in their order; that of a request is left out against an order."""
    named = [_person(word) for word in reading.light if word in FIRST | SECOND]
    if request and reading.requests and named[:1] == ["you"]:
        del named[0]
    return [person for person, _ in groupby(named)]


def _is_own(reading: Reading, persons: list[str]) -> bool:
    """Return whether every person of a text is its subject, or the one who needs a thing for a purpose."""
    if reading.subject is not None:
        return set(persons) <= {_person(reading.subject)}
    values = reading.values
    return len(persons) == 1 and "need" in values and not _PURPOSE.isdisjoint(values[values.index("need") + 2 :])


def _beside_it(reading: Reading) -> list[str]:
    """Return in which order persons and `it` stand: `Can I hurt it` is not `Can it hurt me`, nor `Can I` `Can it`."""
    words = [reading.subject, *reading.light] if reading.subject else reading.light
    named = ("it" if word in _THING else "person" for word in words if word in FIRST | SECOND | _THING)
    return [one for one, _ in groupby(named)]


def _asks_subject(a: Reading, b: Reading) -> bool:
    """Return whether `a` asks for a subject (`Who owes me …`), and `b` for an object (`Who do I owe …`)."""
    asked = [term for term in a.terms if term.before in _ASKING]
    return any(term.before in _NAMED and any(paired(term, one) for one in asked) for term in b.terms)


def _turns(a: Reading, b: Reading) -> bool:
    """Return whether a person is the subject in one question with `who` or `what`, and the object in the other.

    `I` and `me` tell it by their case, `you` and `it` by standing before the verb or behind it.
    """
    if not all(reading.values[:1] and reading.values[0] in _ASKING for reading in (a, b)):
        return False
    if {_case(a), _case(b)} == {"subject", "object"}:
        return True
    return None not in (a.before_person, b.before_person) and a.before_person != b.before_person


def _case(reading: Reading) -> str | None:
    """Return the case of the first person in an English text, if it stands in one alone."""
    words = {reading.subject, *reading.light}
    subject, object_ = not words.isdisjoint(("i", "we")), not words.isdisjoint(("me", "us"))
    return None if subject == object_ else "subject" if subject else "object"


def _person(word: str) -> str:
    return "I" if word in FIRST else "you"
