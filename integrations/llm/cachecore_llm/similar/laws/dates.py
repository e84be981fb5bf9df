"""Dates: both texts name the same days, months and times of day, in the same order and form."""

from __future__ import annotations

from cachecore_llm.similar.laws.pairing import differ
from cachecore_llm.similar.laws.reading import Reading
from cachecore_llm.similar.laws.vocabulary import DATES


def disagreement(a: Reading, b: Reading) -> str | None:
    """Return the first word of the calendar in which two texts differ, else None."""
    return differ([one for one in a.values if one in DATES], [one for one in b.values if one in DATES])
