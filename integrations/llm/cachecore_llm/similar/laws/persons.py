"""Persons: `I` and `you` stand in the same order in both texts, unless one text names no person at all.

`What is my name?` is not `What is your name?`. The subject of a question with `how` or `should` says nothing: `How do
you …`, `How do I …` and `How to …` ask the same, and so do its own words with it: `How do you lower your …`, `How do
I lower my …`.
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
    if not here or not there or here == there or (_is_own(a, here) and _is_own(b, there)):
        return None
    return f"{' '.join(here)} / {' '.join(there)}"


def _persons(reading: Reading) -> list[str]:
    named = [_person(word) for word in reading.light if word in FIRST | SECOND]
    return [person for person, _ in groupby(named)]


def _is_own(reading: Reading, persons: list[str]) -> bool:
    """Return whether every person of a text is its subject."""
    return reading.subject is not None and set(persons) == {_person(reading.subject)}


def _person(word: str) -> str:
    return "I" if word in FIRST else "you"
