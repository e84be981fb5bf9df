"""Logs made from a list of questions, with repetition as support desks see it: some asked often, many asked once."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from itertools import accumulate
from random import Random

from cachecore.contract.errors import OptionsError


def zipf_mix(
    questions: Sequence[str],
    *,
    requests: int,
    one_off: float,
    exponent: float,
    chance: Random,
) -> list[str]:
    """Return `requests` questions in the order they are asked.

    Args:
        questions: distinct questions; those asked once are taken from them first and never used again.
        requests: how many to return.
        one_off: the part of the requests that nobody asks twice, 0 to 1.
        exponent: of the popularity of the others: the question of rank r is asked in proportion to r ** -exponent.
        chance: draws everything.
    """
    if not 0 <= one_off <= 1:
        raise OptionsError(f"one_off must be from 0 to 1, not {one_off!r}")
    single = round(requests * one_off)
    shuffled = list(dict.fromkeys(questions))
    if len(shuffled) <= single:
        raise OptionsError(f"{single} questions asked once leave none of {len(shuffled)} to be repeated")
    chance.shuffle(shuffled)
    once, pool = shuffled[:single], shuffled[single:]
    weights = list(accumulate((rank + 1) ** -exponent for rank in range(len(pool))))
    popular = [pool[bisect(weights, chance.random() * weights[-1])] for _ in range(requests - single)]
    mixed = once + popular
    chance.shuffle(mixed)
    return mixed
