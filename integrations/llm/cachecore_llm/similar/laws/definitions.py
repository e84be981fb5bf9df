"""Definitions: `What is an IP address?` asks for the meaning of a word, `What is my IP address?` for one thing.

A question may be `What is` or `Who is` and a noun alone. Then the article tells what is asked for: with `my` or `the`
one thing or person, with `a` or no article the meaning of the noun. `the` may be left out before two words or more
(`What is the stock market`, `What is stock market`). Before one word it may be left out behind `who` only: `What is the
time?` is not `What is time?`.
"""

from __future__ import annotations

from typing import Final, Literal

from cachecore_llm.similar.laws.reading import Reading
from cachecore_llm.similar.laws.vocabulary import DETERMINERS, GERUND, INTERROGATIVES, SCOPE

_ASKING: Final = frozenset({"what", "who"})
_ARTICLES: Final = frozenset({"a", "an"})
_BEHIND: Final = GERUND | SCOPE | (INTERROGATIVES - _ASKING)
"""A question with one of these asks more than `What is` and a noun."""
_Article = Literal["mine", "the", "a", "none"]
_ALIKE: Final = (frozenset({"mine", "the"}), frozenset({"a", "none"}))


def disagreement(a: Reading, b: Reading) -> str | None:
    """Return both articles if two questions `What is (a, the, my) …`, or with `Who`, ask for two things; else None."""
    here, there = _article(a), _article(b)
    if here is None or there is None or here == there or {here, there} in _ALIKE:
        return None
    if {here, there} == {"the", "none"} and (max(len(a.terms), len(b.terms)) > 2 or a.terms[0].value == "who"):
        return None
    return f"{here} / {there}"


def _article(reading: Reading) -> _Article | None:
    """Return the article of the noun that is asked for; None if the question is another one."""
    if reading.language != "en" or len(reading.terms) < 2 or reading.terms[0].value not in _ASKING:
        return None
    if not reading.terms[1].behind_be or not _BEHIND.isdisjoint(reading.values):
        return None
    article = reading.terms[1].before
    if article == "the":
        return "the"
    return "a" if article in _ARTICLES else "mine" if article in DETERMINERS else "none"
