"""Pairs of questions to measure the laws by: paraphrases as users write them, and traps that look as alike.

`held_pairs.csv`: 100 pairs that one answer is right for and 100 that mean different things, of six topics, each with
the kind of its difference, written `before` the laws were loosened; and 60 and 60 written `after`, the traps against
what the laws now allow. No word list of the laws is made from them.
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

    written: str
    """`before` or `after` the laws were loosened."""
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
    return [Held(written, topic, kind, a, b, same == "1") for written, topic, kind, a, b, same in rows]
