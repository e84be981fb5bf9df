"""Operators: every sign that is not punctuation of prose stands in both texts, in the same order."""

from __future__ import annotations

from cachecore_llm.similar.laws.pairing import differ
from cachecore_llm.similar.laws.reading import Reading


def disagreement(a: Reading, b: Reading) -> str | None:
    """Return the first sign in which two texts differ, else None. The words between the signs are judged by order."""
    return differ(_signs(a), _signs(b))


def _signs(reading: Reading) -> list[str]:
    return [term.value for term in reading.terms if term.token.kind == "sign"]
