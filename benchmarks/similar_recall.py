"""How many questions get the answer to another, and how many of these are wrong: 3-grams and MiniLM, under the laws.

    python -m benchmarks similar_recall

Real questions with their intents (BANKING77, CLINC150): of 3,000 known ones and 500 asked, the most alike that breaks
no law answers; it is wrong if its intent is another. The real data lie in a folder beside the checkout. MiniLM needs
the extra `minilm` of cachecore-llm.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks.running.results import AbsentError, Question, Table
from cachecore.contract.errors import OptionsError
from cachecore_llm.similar.grams import cosine, grams
from cachecore_llm.similar.laws import Asked
from cachecore_llm.similar.minilm import MiniLM

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data"
KNOWN, ASKED = 3_000, 500
Row = tuple[str, str]
Likeness = Callable[[str, str], float]


def banking(folder: Path) -> list[Row]:
    with gzip.open(folder / "faq" / "banking77_train.csv.gz") as file:
        return [(row["text"].strip(), row["category"]) for row in csv.DictReader(io.TextIOWrapper(file, "utf-8"))]


def clinc(folder: Path) -> list[Row]:
    with gzip.open(folder / "faq" / "clinc150.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = map(json.loads, file)
        return [(row["text"].strip(), row["intent"]) for row in rows if row["intent"] != "oos"]


def by_grams(texts: Iterable[str]) -> Likeness:
    bags = {text: grams(text) for text in texts}
    return lambda a, b: cosine(bags[a], bags[b])


def by_minilm(texts: Iterable[str]) -> Likeness:
    import numpy

    listed = sorted(set(texts))
    vectors: Any = MiniLM()(listed)
    vectors /= numpy.linalg.norm(vectors, axis=1, keepdims=True)
    places = {text: place for place, text in enumerate(listed)}
    return lambda a, b: float(vectors[places[a]] @ vectors[places[b]])


def measured(rows: list[Row], likeness: Likeness, thresholds: Iterable[float]) -> dict[str, dict[str, float]]:
    """Return, by threshold, the percents of questions that are answered, and wrongly, with the laws and without."""
    known, asked = dict(rows[:KNOWN]), rows[-ASKED:]
    lowest = min(thresholds)
    best: list[tuple[list[tuple[float, str]], Asked, str]] = []
    for question, intent in asked:
        alike = sorted(((likeness(question, one), one) for one in known if one != question), reverse=True)
        best.append(([pair for pair in alike if pair[0] >= lowest], Asked(question), intent))
    found = {}
    for threshold in thresholds:
        row: dict[str, float] = {}
        for laws in (True, False):
            served = wrong = 0
            for alike, one, intent in best:
                above = (other for likely, other in alike[:64] if likely >= threshold)
                match = next((other for other in above if not laws or one.broken_by(other) is None), None)
                served += match is not None
                wrong += match is not None and known[match] != intent
            by = "" if laws else ", without the laws"
            row |= {f"answered %{by}": 100 * served / len(asked), f"wrong %{by}": 100 * wrong / len(asked)}
        found[f"{threshold:.2f}"] = {column: round(value, 1) for column, value in row.items()}
    return found


async def measure() -> list[Table]:
    if not FOLDER.is_dir():
        raise AbsentError(f"the folder with the real data is not there: {FOLDER}")
    found: dict[str, dict[str, float]] = {}
    for name, rows in (("BANKING77", banking(FOLDER)), ("CLINC150", clinc(FOLDER))):
        random.Random(1).shuffle(rows)
        texts = [text for text, _ in (*rows[:KNOWN], *rows[-ASKED:])]
        try:
            likenesses = {"3-grams": by_grams(texts), "MiniLM": by_minilm(texts)}
        except (OptionsError, ImportError) as lacking:
            raise AbsentError(str(lacking)) from lacking
        for index, likeness in likenesses.items():
            thresholds = (0.6, 0.7, 0.8) if index == "3-grams" else (0.6, 0.8, 0.88)
            for threshold, row in measured(rows, likeness, thresholds).items():
                found[f"{name}, {index}, {threshold}"] = row
    return [Table(f"{ASKED} questions, {KNOWN:,} known ones", "", found)]


QUESTION = Question("similar_recall", "The questions that a similar one answers", measure, timed=False)

if __name__ == "__main__":
    sys.exit(QUESTION.main())
