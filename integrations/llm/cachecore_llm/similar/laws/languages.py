"""Languages: two texts in known languages are in the same one.

A language is known by its frequent words; where they do not tell, by py3langid if that is installed (the extra
`languages`), of texts of 20 letters or more and with 95 % certainty.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Final

from cachecore_llm.similar.laws.reading import Reading

_SHORTEST: Final = 20
_SURE: Final = 0.95


def disagreement(a: Reading, b: Reading) -> str | None:
    """Return the languages of two texts if both are known and not the same, else None."""
    here, there = _language(a), _language(b)
    return None if here is None or there is None or here == there else f"{here} / {there}"


def _language(reading: Reading) -> str | None:
    if reading.language is not None:
        return reading.language
    identify = _identifier()
    if identify is None or len(reading.text) < _SHORTEST:
        return None
    language, certainty = identify(reading.text)
    return language if certainty >= _SURE else None


@cache
def _identifier() -> Callable[[str], tuple[str, float]] | None:
    """Return the identifier of languages, loaded once: 1.4 s, in the thread that compares questions."""
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError:
        return None
    found: Callable[[str], tuple[str, float]] = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True).classify
    return found
