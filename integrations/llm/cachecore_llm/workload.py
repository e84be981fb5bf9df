"""Logs made from a list of questions, with repetition as support desks see it: some asked often, many asked once.

The repetition is declared, not found: it decides the hit rate, so a rate is told with the mix it belongs to.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect
from collections.abc import Callable, Sequence
from itertools import accumulate
from random import Random
from typing import Final

from cachecore.contract.errors import OptionsError


def zipf_mix(
    questions: Sequence[str],
    *,
    requests: int,
    one_off: float,
    exponent: float,
    chance: Random,
    popular: int | None = None,
) -> list[str]:
    """Return `requests` questions in the order they are asked.

    Args:
        questions: distinct questions; those asked once are taken from them first and never used again.
        requests: how many to return.
        one_off: the part of the requests that nobody asks twice, 0 to 1.
        exponent: of the popularity of the others: the question of rank r is asked in proportion to r ** -exponent.
        chance: draws everything.
        popular: how many questions are asked again and again; None: all that are not asked once.
    """
    if not 0 <= one_off <= 1:
        raise OptionsError(f"one_off must be from 0 to 1, not {one_off!r}")
    single = round(requests * one_off)
    shuffled = list(dict.fromkeys(questions))
    left = len(shuffled) - single
    if left <= 0:
        raise OptionsError(f"{single} questions asked once leave none of {len(shuffled)} to be repeated")
    if popular is not None and not 0 < popular <= left:
        raise OptionsError(f"popular must be from 1 to the {left} questions that are not asked once, not {popular!r}")
    chance.shuffle(shuffled)
    once, pool = shuffled[:single], shuffled[single : single + (popular or left)]
    weights = list(accumulate((rank + 1) ** -exponent for rank in range(len(pool))))
    repeated = [pool[bisect(weights, chance.random() * weights[-1])] for _ in range(requests - single)]
    mixed = once + repeated
    chance.shuffle(mixed)
    return mixed


def repeated_part(questions: Sequence[str]) -> float:
    """Return the part of `questions` that were asked before, 0 to 1: the hit rate of a cache that keeps everything."""
    return 1 - len(set(questions)) / len(questions) if questions else 0.0


def respelled(questions: Sequence[str], *, share: float, chance: Random) -> list[str]:
    """Return `questions`, the part `share` of them (0 to 1, drawn by `chance`) typed otherwise.

    Otherwise is one of: with a space too many, with one at the end, with another mark at the end or none, with accents
    apart from their letters. A question may come out as it was.
    """
    if not 0 <= share <= 1:
        raise OptionsError(f"share must be from 0 to 1, not {share!r}")
    return [chance.choice(_SLIPS)(text) if chance.random() < share else text for text in questions]


_SLIPS: Final[tuple[Callable[[str], str], ...]] = (
    lambda text: text.replace(" ", "  ", 1),
    lambda text: text + " ",
    lambda text: text.rstrip("?."),
    lambda text: text.rstrip("?.") + "??",
    lambda text: unicodedata.normalize("NFD", text),
)
