"""Which two words are forms of one: a plural, a regular form of a verb, another spelling, or one slip of the pen.

Plurals: `-s`, `-es`, `-ies`, `-ves`, `-ses` for `-sis`, `-men`, and the few that English keeps from before. Of a verb
its base and one regular form. Spellings: British and American endings (`-ise`, `-our`, `-tre`, `-lled`). Endings that
make another word (-ly, -er, -ment) make no form.
"""

from __future__ import annotations

import re
from typing import Final, Literal

from cachecore_llm.similar.laws.vocabulary import listed

Form = Literal["same", "plural", "ed", "ing"]

_NO_PLURALS: Final = listed(
    """
    news means goods customs glasses arms damages spirits brains manners premises odds woods shorts trunks blues greens
    scales physics mathematics ethics politics economics statistics
    """
)
"""Plurals with a sense of their own: glasses are not of one glass more."""
_OLD_PLURALS: Final = {"child": "children", "foot": "feet", "tooth": "teeth", "person": "people", "mouse": "mice"}
_SPELT: Final = 6
"""Letters from which on an ending may be British or American; below there are words such as four and for."""
_ENDINGS: Final = {"is": "iz", "ys": "yz", "our": "or", "tre": "ter"}
_BRITISH: Final = re.compile(r"(?<=[a-z]{3})(is|ys|our)(e|ed|es|er|ers|ing|ation|ations|s|ite|)\Z")
_CENTRE: Final = re.compile(r"(?<=[a-z]{3})(tre)(s|)\Z")
_DOUBLED: Final = re.compile(r"(?<=[aeiou])([^aeiou]+[ae]l)l(ed|ing|er|ers)\Z")
"""travelled, cancelling; not filled, called: the syllable before the last one bears the stress."""
_LONG: Final = 9
"""Letters from which on a word with two neighbours exchanged, or one letter doubled, is hardly another word."""
_VOWELS: Final = "aeiou"
_IN_VES: Final = re.compile(r"(?:cal|hal|lea|loa|sel|shel|shea|thie|wol|hoo|scar)f\Z|(?:kni|li|wi)fe\Z")
"""Nouns with a plural in -ves; not belief, safe, proof."""
_SHORT: Final = re.compile(r"(?<![aeiou])[aeiou][^aeiouy]\Z")


def form_of(a: str, b: str) -> Form | None:
    """Return the rule by which one of two folded words is a form of the other, or None. Symmetric."""
    short, long = sorted((a, b), key=lambda word: (len(word), word))
    if short in _NO_PLURALS or long in _NO_PLURALS:
        return None
    if _is_plural(short, long) or _is_plural(long, short):
        return "plural"
    verb = _verb_form(short, long)
    if verb is not None:
        return verb
    return "same" if _is_slip(short, long) or american(a) == american(b) else None


def american(word: str) -> str:
    """Return a word of six letters or more with the American form of an ending: -ize, -yze, -or, -ter, -eled."""
    if len(word) < _SPELT:
        return word
    word = _CENTRE.sub(lambda found: _ENDINGS[found[1]] + found[2], word)
    word = _DOUBLED.sub(r"\1\2", word)
    return _BRITISH.sub(lambda found: _ENDINGS[found[1]] + found[2], word)


def _is_plural(base: str, form: str) -> bool:
    if _OLD_PLURALS.get(base) == form or (base.endswith("man") and form == base[:-2] + "en"):
        return True
    if len(base) < 3:
        return base == "go" and form == "goes"
    if _IN_VES.search(base) and form == base.rstrip("e")[:-1] + "ves":
        return True
    if base.endswith("sis"):
        return form == base[:-2] + "es"
    if form == base + "s":
        return not base.endswith("s")
    if form == base + "es":
        return base.endswith(("s", "x", "z", "ch", "sh", "o"))
    return base.endswith("y") and base[-2] not in _VOWELS and form == base[:-1] + "ies"


def _verb_form(base: str, form: str) -> Form | None:
    """Return which regular form of the verb `base` another word is."""
    if len(base) < 2 or not form.endswith(("ed", "ing")):
        return None
    doubled = base + base[-1]
    if form.endswith("ing"):
        if len(base) < 4 and _SHORT.search(base):
            return "ing" if form == doubled + "ing" else None  # hop: hopping, and not hoping
        if base.endswith("ie"):
            return "ing" if form == base[:-2] + "ying" else None
        made = (base + "ing", doubled + "ing", base[:-1] + "ing" if base[-1] == "e" and base[-2] != "e" else "")
        return "ing" if form in made and len(form) > 4 else None
    if base.endswith("y") and base[-2] not in _VOWELS:
        return "ed" if form == base[:-1] + "ied" else None
    if base.endswith("e"):
        return "ed" if form == base + "d" and not (len(base) < 4 and base.endswith("ee")) else None  # see: not seed
    if len(base) < 4:
        return "ed" if form == base + "ed" and base[-2] not in _VOWELS else None  # ask: asked; rat: not rated
    return "ed" if form in (base + "ed", doubled + "ed") else None


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
