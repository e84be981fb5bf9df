"""Letter case: the same letters in another case are another word, but where a sentence begins.

There a capital says nothing, if the other letters are small; nor does one say anything to a text that has no capital at
all. `-r` and `-R`, `Mbps` and `MBps`, `polish` and `Polish`
are two.
"""

from __future__ import annotations

from collections import defaultdict

from cachecore_llm.similar.laws.reading import Reading, is_titled
from cachecore_llm.similar.laws.tokens import Token


def disagreement(a: Reading, b: Reading) -> str | None:
    """Return a word that two texts write in different case, else None."""
    there = _by_value(b)
    uncased = a.text == a.text.lower() or b.text == b.text.lower()
    for value, mine in _by_value(a).items():
        for left, right in zip(mine, there.get(value, []), strict=False):
            if not _alike(left, right, uncased=uncased):
                return f"{left.text} / {right.text}"
    return None


def _by_value(reading: Reading) -> dict[str, list[Token]]:
    found: defaultdict[str, list[Token]] = defaultdict(list)
    for term in reading.terms:
        if term.token.kind == "word":
            found[term.token.folded].append(term.token)
    return found


def _alike(a: Token, b: Token, *, uncased: bool) -> bool:
    if a.text == b.text:
        return True
    return any(
        (one.starts or uncased) and is_titled(one.text) and other.text in (one.text, one.text.lower())
        for one, other in ((a, b), (b, a))
    )
