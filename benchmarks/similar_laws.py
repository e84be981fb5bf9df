"""How many pairs of questions pass by similarity alone, and how many under the laws; which law stops the others.

    python -m benchmarks.similar_laws [FOLDER]   # FOLDER: real data; `../shared/data` if not given

Pairs over invented words, of each kind that the tests make; the held pairs (tests/llm/similar/held_pairs.csv); and of
real data questions of one intent and of two (BANKING77, CLINC150: not every pair of one intent means the same) and
Korean pairs. Prints a table and writes benchmarks/results/similar_laws.json.
"""

from __future__ import annotations

import csv
import json
import random
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.similar_recall import FOLDER, banking, clinc
from cachecore_llm.similar.grams import cosine, grams
from cachecore_llm.similar.laws import disagreement
from tests.llm.similar.forbidden import FORBIDDEN
from tests.llm.similar.held import held
from tests.llm.similar.invented import TRUE

RESULTS = Path(__file__).parent / "results" / "similar_laws.json"
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


def measured(pairs: Iterable[Pair]) -> dict[str, Any]:
    """Return how many pairs pass by threshold, alone and under the laws, and which law stops how many at the first."""
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
    lines = [
        {"threshold": threshold}
        | {f"{side}_{how}": counts[f"{side} {how} {threshold}"] for side in stopped for how in ("bare", "laws")}
        for threshold in THRESHOLDS
    ]
    return {
        "pairs": {side: counts[side] for side in stopped},
        "by_threshold": lines,
        "stopped_by": {side: dict(laws.most_common()) for side, laws in stopped.items()},
    }


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 and Path(sys.argv[1]).is_dir() else FOLDER
    sets: dict[str, Iterable[Pair]] = {"invented": invented()}
    for written in ("before", "after"):
        sets[f"held, written {written}"] = [Pair(one.a, one.b, one.same) for one in held() if one.written == written]
    if folder.is_dir():
        sets |= {
            "BANKING77": intents(banking(folder)),
            "CLINC150": intents(clinc(folder)),
            "Korean": korean(folder),
        }
    else:
        print(f"the folder with the real data is not there: {folder}")
    results = {name: measured(pairs) for name, pairs in sets.items()}
    for name, found in results.items():
        print(f"{name}: {found['pairs']['same']} same, {found['pairs']['different']} different")
        for line in found["by_threshold"]:
            print("   " + "  ".join(f"{what} {value:>6}" for what, value in line.items()))
        for side, laws in found["stopped_by"].items():
            print(f"   {side} stopped by {laws}")
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
