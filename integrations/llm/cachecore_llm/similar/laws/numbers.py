"""Numbers: both texts have the same numbers in the same order, and behind each the same unit.

`two` is 2, `1,000` is 1000, but `1,5` is not 15; `1.0` and `1`, `v2.1` and `v2.10` are not the same: a version is not
its value.
"""

from __future__ import annotations

from cachecore_llm.similar.laws.pairing import differ
from cachecore_llm.similar.laws.reading import Reading


def disagreement(a: Reading, b: Reading) -> str | None:
    """Return the first number or unit in which two texts differ, else None."""
    return differ(_numbers(a), _numbers(b)) or differ(_units(a), _units(b))


def _numbers(reading: Reading) -> list[str]:
    return [term.value for term in reading.terms if term.value[0].isdigit()]


def _units(reading: Reading) -> list[str]:
    """Return the units; a plural that is spelled out is the unit itself."""
    units = [term.token.text for term in reading.terms if term.unit and term.token.kind == "word"]
    return [unit[:-1] if len(unit) > 3 and unit.endswith("s") else unit for unit in units]
