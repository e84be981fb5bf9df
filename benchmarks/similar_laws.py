"""How many pairs of questions pass by similarity alone, and how many under the laws; which law stops the others.

    python -m benchmarks similar_laws

Pairs over invented words, of each kind that the tests make; the held pairs (tests/llm/similar/held_pairs.csv); and of
real data questions of one intent and of two (BANKING77, CLINC150: not every pair of one intent means the same) and
Korean pairs. The real data lie in a folder beside the checkout, `similar_recall.FOLDER`.
"""

from __future__ import annotations

import csv
import random
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.running.results import AbsentError, Question, Table
from benchmarks.similar_recall import FOLDER, banking, clinc
from cachecore_llm.similar.grams import cosine, grams
from cachecore_llm.similar.laws import disagreement
from tests.llm.similar.forbidden import FORBIDDEN
from tests.llm.similar.held import held
from tests.llm.similar.invented import TRUE

THRESHOLDS = (0.6, 0.7, 0.8, 0.9)
EACH = 300
KNOWN, ASKED = 3_000, 1_000


class Pair(NamedTuple):
    """Two questions, and whether one answer is right for both."""

    a: str
    b: str
    same: bool


def invented() -> Iterator[Pair]:
    """Yield `EACH` pairs of each kind that the tests make."""
    for kinds, same in ((TRUE, True), (FORBIDDEN, False)):
        for name, make in kinds.items():
            chance = random.Random(name)
            for _ in range(EACH):
                yield Pair(*make(chance), same)


def intents(rows: list[tuple[str, str]]) -> Iterator[Pair]:
    """Yield the pairs of a known and an asked question that look alike."""
    random.Random(1).shuffle(rows)
    known, asked = dict(rows[:KNOWN]), rows[-ASKED:]
    bags = {question: grams(question) for question in known}
    for question, intent in asked:
        bag = grams(question)
        for other, theirs in known.items():
            if other != question and cosine(bag, bags[other]) >= THRESHOLDS[0]:
                yield Pair(question, other, intent == theirs)


def korean(folder: Path) -> Iterator[Pair]:
    """Yield the Korean pairs, less those of a text with itself, of which some are labelled as different."""
    with (folder / "pairs" / "korean_question_pairs.csv").open(encoding="utf-8-sig", newline="") as file:
        for row in csv.DictReader(file):
            if row["is_duplicate"] in ("0", "1") and row["question1"] != row["question2"]:
                yield Pair(row["question1"], row["question2"], row["is_duplicate"] == "1")


def measured(name: str, pairs: Iterable[Pair]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return how many pairs pass by threshold, alone and under the laws; and which law stops how many at the first."""
    counts: Counter[str] = Counter()
    stopped: dict[str, Counter[str]] = {"same": Counter(), "different": Counter()}
    for pair in pairs:
        side = "same" if pair.same else "different"
        counts[side] += 1
        likeness = cosine(grams(pair.a), grams(pair.b))
        law = disagreement(pair.a, pair.b) if likeness >= THRESHOLDS[0] else None
        for threshold in THRESHOLDS:
            if likeness >= threshold:
                counts[f"{side} bare {threshold}"] += 1
                counts[f"{side} laws {threshold}"] += law is None
        if law is not None:
            stopped[side][law] += 1
    passed = {
        f"{name}, {threshold:.2f}": {
            "the same": counts["same"],
            "pass alone": counts[f"same bare {threshold}"],
            "pass under the laws": counts[f"same laws {threshold}"],
            "different": counts["different"],
            "of these alone": counts[f"different bare {threshold}"],
            "of these under the laws": counts[f"different laws {threshold}"],
        }
        for threshold in THRESHOLDS
    }
    laws = {
        law: {side: count[law] for side, count in stopped.items()} for law in stopped["same"] | stopped["different"]
    }
    return passed, {f"{name}: {law}": row for law, row in laws.items()}


async def measure() -> list[Table]:
    if not FOLDER.is_dir():
        raise AbsentError(f"the folder with the real data is not there: {FOLDER}")
    sets: dict[str, Iterable[Pair]] = {"invented": invented()}
    for written in ("before", "after"):
        sets[f"held, written {written}"] = [Pair(one.a, one.b, one.same) for one in held() if one.written == written]
    sets |= {"BANKING77": intents(banking(FOLDER)), "CLINC150": intents(clinc(FOLDER)), "Korean": korean(FOLDER)}
    passed: dict[str, dict[str, Any]] = {}
    stopped: dict[str, dict[str, Any]] = {}
    for name, pairs in sets.items():
        by_threshold, by_law = measured(name, pairs)
        passed |= by_threshold
        stopped |= by_law
    return [
        Table("pairs that pass, by threshold", "", passed),
        Table(f"pairs that a law stops at {THRESHOLDS[0]:g}", "", stopped),
    ]


QUESTION = Question("similar_laws", "The pairs of questions that pass under the laws", measure, timed=False)

if __name__ == "__main__":
    sys.exit(QUESTION.main())
