"""Letter case: the same letters in another case are another word, but where a sentence begins.

There a capital says nothing, if the other letters are small; nor does one say anything to a text that has no capital
but in `I`, nor do the capitals of a word of three letters or more (`PIN`) to such a text. `-r` and `-R`, `Mbps` and
`MBps`, `polish` and `Polish` are two.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Final

from cachecore_llm.similar.laws.reading import Reading, is_titled
from cachecore_llm.similar.laws.tokens import Token
from cachecore_llm.similar.laws.vocabulary import INTERROGATIVES

_PRONOUN: Final = re.compile(r"(?<!\S)I(?=['’\s])")
_ACRONYM: Final = 3


def disagreement(a: Reading, b: Reading) -> str | None:
    """Return a word that two texts write in different case, else None."""
    there = _by_value(b)
    uncased = _has_no_capital(a) or _has_no_capital(b)
    for value, mine in _by_value(a).items():
        for left, right in zip(mine, there.get(value, []), strict=False):
            if not _alike(left, right, uncased=uncased):
                return f"{left.text} / {right.text}"
    return None


def _has_no_capital(reading: Reading) -> bool:
    text = reading.text
    return text == text.lower() or (text[0].islower() and _PRONOUN.sub("i", text) == text.lower())


def _is_acronym(a: Token, b: Token) -> bool:
    """Return whether one is written in capitals and the other in small letters, and neither beside a sign."""
    if len(a.text) < _ACRONYM or a.beside_sign or b.beside_sign or a.folded in INTERROGATIVES:
        return False
    return {a.text, b.text} == {a.text.upper(), a.folded}


def _by_value(reading: Reading) -> dict[str, list[Token]]:
    found: defaultdict[str, list[Token]] = defaultdict(list)
    for term in reading.terms:
        if term.token.kind == "word":
            found[term.token.folded].append(term.token)
    return found


def _alike(a: Token, b: Token, *, uncased: bool) -> bool:
    if a.text == b.text:
        return True
    if uncased and _is_acronym(a, b):
        return True
    return any(
        (one.starts or uncased) and is_titled(one.text) and other.text in (one.text, one.text.lower())
        for one, other in ((a, b), (b, a))
    )
