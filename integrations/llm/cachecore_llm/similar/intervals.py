"""Clopper–Pearson: exact bounds of a rate that was seen in a sample, without an approximation that fails for few."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

_STEPS: Final = 45


def upper_bound(seen: int, of: int, confidence: float) -> float:
    """Return the rate that `seen` or fewer cases in a sample `of` so many rule out above, with `confidence`.

    1.0 for an empty sample. Raises ValueError for a count or a confidence that there cannot be.
    """
    _check(seen, of, confidence)
    if seen == of:
        return 1.0
    probability = _at_most(seen, of)
    return _solved(lambda rate: probability(rate) > 1 - confidence)


def lower_bound(seen: int, of: int, confidence: float) -> float:
    """Return the rate that `seen` or more cases in a sample `of` so many rule out below, with `confidence`."""
    return 0.0 if of == 0 else 1.0 - upper_bound(of - seen, of, confidence)


def needed(rate: float, confidence: float) -> int:
    """Return how large a sample without a single case must be to bound the rate by `rate`, over 0 and under 1."""
    return math.ceil(math.log(1 - confidence) / math.log(1 - rate))


def _check(seen: int, of: int, confidence: float) -> None:
    if not 0 <= seen <= of:
        raise ValueError(f"there are from 0 to {of} cases in a sample of {of}, not {seen}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be over 0 and under 1, not {confidence!r}")


def _solved(too_low: Callable[[float], bool]) -> float:
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if too_low(middle):
            low = middle
        else:
            high = middle
    return high


def _at_most(seen: int, of: int) -> Callable[[float], float]:
    """Return the function from a rate to the probability of `seen` or fewer cases among `of`."""
    few = seen < of / 2  # the shorter sum
    counts = range(seen + 1) if few else range(seen + 1, of + 1)
    total = math.lgamma(of + 1)
    ways = [(k, total - math.lgamma(k + 1) - math.lgamma(of - k + 1)) for k in counts]

    def probability(rate: float) -> float:
        log_rate, log_other = math.log(rate), math.log1p(-rate)
        mass = math.fsum(math.exp(way + k * log_rate + (of - k) * log_other) for k, way in ways)
        return mass if few else 1 - mass

    return probability
