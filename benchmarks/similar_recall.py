"""How many questions get the answer to another, and how many of these are wrong: 3-grams and MiniLM, under the laws.

    python -m benchmarks.similar_recall [FOLDER]   # FOLDER: real data; `../shared/data` if not given

Real questions with their intents (BANKING77, CLINC150): of 3,000 known ones and 500 asked, the most alike that breaks
no law answers; it is wrong if its intent is another. Writes benchmarks/results/similar_recall.json. MiniLM needs the
extra `minilm`, and is left out without.
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

from cachecore.contract.errors import OptionsError
from cachecore_llm.similar.grams import cosine, grams
from cachecore_llm.similar.laws import Asked
from cachecore_llm.similar.minilm import MiniLM

RESULTS = Path(__file__).parent / "results" / "similar_recall.json"
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


def measured(rows: list[Row], likeness: Likeness, thresholds: Iterable[float]) -> list[dict[str, float]]:
    known, asked = dict(rows[:KNOWN]), rows[-ASKED:]
    lowest = min(thresholds)
    best: list[tuple[list[tuple[float, str]], Asked, str]] = []
    for question, intent in asked:
        alike = sorted(((likeness(question, one), one) for one in known if one != question), reverse=True)
        best.append(([pair for pair in alike if pair[0] >= lowest], Asked(question), intent))
    found = []
    for threshold in thresholds:
        row: dict[str, float] = {"threshold": threshold}
        for laws in (True, False):
            served = wrong = 0
            for alike, one, intent in best:
                above = (other for likely, other in alike[:64] if likely >= threshold)
                match = next((other for other in above if not laws or one.broken_by(other) is None), None)
                served += match is not None
                wrong += match is not None and known[match] != intent
            name = "laws" if laws else "bare"
            row |= {f"{name}_served": served / len(asked), f"{name}_wrong": wrong / len(asked)}
        found.append(row)
    return found


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 and Path(sys.argv[1]).is_dir() else FOLDER
    if not folder.is_dir():
        print(f"the folder with the real data is not there: {folder}")
        return
    results: dict[str, dict[str, list[dict[str, float]]]] = {}
    for name, rows in (("BANKING77", banking(folder)), ("CLINC150", clinc(folder))):
        random.Random(1).shuffle(rows)
        texts = [text for text, _ in (*rows[:KNOWN], *rows[-ASKED:])]
        results[name] = {"3-grams": measured(rows, by_grams(texts), (0.6, 0.7, 0.8))}
        try:
            results[name]["MiniLM"] = measured(rows, by_minilm(texts), (0.6, 0.8, 0.88))
        except (OptionsError, ImportError) as lacking:
            print(lacking)
        for model, lines in results[name].items():
            for line in lines:
                print(f"{name:<10} {model:<8}" + "".join(f"  {what} {value:.3f}" for what, value in line.items()))
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
