"""Pairs of questions that were written down before the laws were loosened: paraphrases as users write them, and traps.

`held_pairs.csv`: 100 pairs that one answer is right for and 100 that look as alike and mean different things, of six
topics, each with the kind of its difference. No word list of the laws is made from them.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

from cachecore_llm.similar.grams import cosine, grams
from cachecore_llm.similar.laws import disagreement

PAIRS = Path(__file__).with_name("held_pairs.csv")


class Held(NamedTuple):
    """One pair."""

    topic: str
    kind: str
    a: str
    b: str
    same: bool
    """Whether one answer is right for both."""

    @property
    def similarity(self) -> float:
        """The cosine of their 3-grams."""
        return cosine(grams(self.a), grams(self.b))

    @property
    def passes(self) -> bool:
        """Whether one would be served the answer to the other, at the usual threshold."""
        return self.similarity >= 0.60 and disagreement(self.a, self.b) is None


def held() -> list[Held]:
    """Return the pairs."""
    with PAIRS.open(encoding="utf-8", newline="") as file:
        rows = [tuple(row.values()) for row in csv.DictReader(file)]
    return [Held(topic, kind, a, b, same == "1") for topic, kind, a, b, same in rows]
