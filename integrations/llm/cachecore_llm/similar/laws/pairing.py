"""Which two words may stand for each other: the same word, its plural or its regular forms, and one slip of the pen.

An ending may be British or American. Names, units, numbers and signs pair with themselves alone. Of a verb its base
pairs with its regular forms, but these not with one another: bored is not boring. Endings that make another word (-ly,
-er, -ment) pair with nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

from cachecore_llm.similar.laws.reading import Reading, Term
from cachecore_llm.similar.laws.vocabulary import CARDINALS, DATES, NEGATIONS, SCOPE, listed

_FIXED: Final = NEGATIONS | SCOPE | DATES | frozenset(CARDINALS)
_NO_PLURALS: Final = listed("news means goods customs")
_SPELT: Final = 6
"""Letters from which on an ending may be British or American; below there are words such as four and for."""
_ENDINGS: Final = {"is": "iz", "ys": "yz", "our": "or"}
_BRITISH: Final = re.compile(r"(?<=[a-z]{3})(is|ys|our)(e|ed|es|er|ers|ing|ation|ations|s|ite|)\Z")
_MOST_FORMS: Final = 32
"""Words in other forms that are matched with one another; texts with more of them have too little in common."""
_LONG: Final = 9
"""Letters from which on a word with two neighbours exchanged, or one letter doubled, is hardly another word."""


def paired(a: Term, b: Term) -> bool:
    """Return whether two terms are one. Symmetric."""
    if a.value == b.value:
        return a.token.kind == b.token.kind or "number" in (a.token.kind, b.token.kind)
    if a.token.kind != "word" or b.token.kind != "word" or a.is_name or b.is_name:
        return False
    if not (a.value.isascii() and b.value.isascii()) or a.value in _FIXED or b.value in _FIXED:
        return False
    short, long = sorted((a.value, b.value), key=lambda word: (len(word), word))
    return _is_form(short, long) or _is_slip(short, long) or _american(a.value) == _american(b.value)


def aligned(a: Reading, b: Reading) -> bool:
    """Return whether both have the same terms in the same order."""
    return len(a.terms) == len(b.terms) and all(map(paired, a.terms, b.terms))


def unpaired(a: Reading, b: Reading) -> tuple[list[Term], list[Term]]:
    """Return the terms of either that have no partner in the other, wherever it stands."""
    mine, other = _without(a.terms, b.values), _without(b.terms, a.values)
    if max(len(mine), len(other)) > _MOST_FORMS:
        return mine, other
    left: list[Term] = []
    for term in mine:
        found = next((one for one in other if paired(term, one)), None)
        if found is None:
            left.append(term)
        else:
            other.remove(found)
    return left, other


def _without(terms: list[Term], values: list[str]) -> list[Term]:
    """Return the terms that are left when each of `values` has taken its like."""
    taken = Counter(values)
    left: list[Term] = []
    for term in terms:
        if taken[term.value] > 0:
            taken[term.value] -= 1
        else:
            left.append(term)
    return left


def differ(a: Sequence[str], b: Sequence[str]) -> str | None:
    """Return what stands where two sequences part, as `left / right`; None if they are the same."""
    for left, right in zip(a, b, strict=False):
        if left != right:
            return f"{left} / {right}"
    if len(a) == len(b):
        return None
    longer = a if len(a) > len(b) else b
    rest = longer[min(len(a), len(b))]
    return f"{rest} / nothing" if longer is a else f"nothing / {rest}"


def _is_form(base: str, form: str) -> bool:
    """Return whether `form` is the plural of `base`, or a regular form of the verb `base`."""
    if base in _NO_PLURALS or form in _NO_PLURALS or len(base) < 3:
        return False
    if form == base + "s":
        return not base.endswith("s")
    if form == base + "es":
        return base.endswith(("s", "x", "z", "ch", "sh", "o"))
    if base.endswith("y") and base[-2] not in "aeiou":
        return form in (base[:-1] + "ies", base[:-1] + "ied") or (len(base) > 3 and form == base + "ing")
    if len(base) < 4:
        return False
    if base.endswith("e"):
        return form in (base + "d", base[:-1] + "ing")
    return form in {base + "ed", base + "ing", base + base[-1] + "ed", base + base[-1] + "ing"}


def _american(word: str) -> str:
    """Return a word of six letters or more with the American form of an ending: -ize, -yze, -or."""
    return _BRITISH.sub(lambda found: _ENDINGS[found[1]] + found[2], word) if len(word) >= _SPELT else word


def _is_slip(short: str, long: str) -> bool:
    """Return whether one word is the other with `ie` and `ei` exchanged, or a long one with one slip inside."""
    first = next((place for place, pair in enumerate(zip(short, long, strict=False)) if pair[0] != pair[1]), len(short))
    if len(short) == len(long):
        exchanged = short[:first] + short[first : first + 2][::-1] + short[first + 2 :] == long
        inside = 0 < first < len(short) - 2
        return exchanged and inside and (len(short) >= _LONG or {short[first], long[first]} == {"i", "e"})
    doubled = len(long) == len(short) + 1 and short[:first] + long[first] + short[first:] == long
    if not doubled or len(short) < _LONG or not 1 < first < len(short):
        return False
    # A consonant doubled before an ending is another word: scraping, scrapping.
    return long[first] == short[first - 1] and not short[first:].startswith(("ed", "ing", "er"))
