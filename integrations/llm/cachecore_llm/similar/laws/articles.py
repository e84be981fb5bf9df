"""Articles outside English: where both texts have one before the same word, it is the same form of it.

It tells the case, the gender or the number: `in die Stadt` (into) is not `in der Stadt` (inside), `der Mann` not `den
Mann`, `le poste` not `la poste`. One that is definite and one that is not say the same, as in English.
"""

from __future__ import annotations

from typing import Final

from cachecore_llm.similar.laws.pairing import reconciled
from cachecore_llm.similar.laws.reading import Reading
from cachecore_llm.similar.laws.vocabulary import WEIGHTLESS, listed

_INDEFINITE: Final = listed("ein eine einen einem einer un une des una unos unas uno um uma uns umas een")


def disagreement(a: Reading, b: Reading) -> str | None:
    """Return the articles of one word in which two texts differ, else None."""
    if a.language == "en" or a.language != b.language:
        return None
    articles = WEIGHTLESS.get(a.language or "", frozenset())
    for one, two in zip(*reconciled(a, b), strict=False):
        if one.value != two.value or one.before == two.before or not {one.before, two.before} <= articles:
            continue
        if (one.before in _INDEFINITE) == (two.before in _INDEFINITE):
            return f"{one.before} / {two.before}"
    return None
