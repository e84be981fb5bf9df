"""Which threshold keeps the error of similar answers below a wanted one, judged by pairs with known answers.

The error is the part of the answers served that are wrong. A threshold is recommended only if the upper end of its
confidence interval is below the wanted error. Several thresholds are tried on one sample, so each is held to its share
of the doubt (Bonferroni): with 95 % for all of eight, each to 99.375 %.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from cachecore.contract.errors import OptionsError
from cachecore_llm.similar.intervals import lower_bound, needed, upper_bound
from cachecore_llm.similar.laws import disagreement

THRESHOLDS: Final = (0.95, 0.90, 0.85, 0.80, 0.75, 0.70, 0.65, 0.60)
COLUMNS: Final = ("question1", "question2", "is_duplicate")
_YES: Final = frozenset({"1", "true", "yes", "y"})
_NO: Final = frozenset({"0", "false", "no", "n"})


class Pair(NamedTuple):
    """Two questions, and whether the answer to one is right for the other."""

    a: str
    b: str
    same: bool


class Judged(NamedTuple):
    """A pair as a cache would see it."""

    similarity: float
    lawful: bool
    same: bool


@dataclass(frozen=True, slots=True)
class Row:
    """The effect of one threshold on the sample."""

    threshold: float
    served: int
    """Pairs of which one would get the other's answer."""
    wrong: int
    same: int
    """Pairs in the sample with the same answer."""
    bound: float
    """The error that the sample does not rule out, at the confidence of one threshold."""
    recall_low: float
    recall_high: float

    @property
    def precision(self) -> float | None:
        """The part of the answers served that are right; None if none is served."""
        return (self.served - self.wrong) / self.served if self.served else None

    @property
    def recall(self) -> float | None:
        """The part of the pairs with one answer that would be served; None if there are none."""
        return (self.served - self.wrong) / self.same if self.same else None


@dataclass(frozen=True, slots=True)
class Calibration:
    """The rows, the strictest first, and their consequences."""

    rows: tuple[Row, ...]
    pairs: int
    error: float
    confidence: float
    chosen: Row | None
    """The lowest threshold with an error that the sample bounds by the wanted one; None if it supports none."""
    needed: int
    """Served answers without a wrong one that it would take to support a threshold."""


def read_pairs(path: Path, columns: Sequence[str] = COLUMNS) -> Iterator[Pair]:
    """Yield the pairs of a CSV file with a header, in UTF-8. Raises OptionsError naming the line that is none."""
    try:
        yield from _read(path, columns)
    except UnicodeDecodeError as error:
        raise OptionsError(
            f"{path} is not in UTF-8 ({error.reason} at byte {error.start}): save it as CSV UTF-8"
        ) from None
    except csv.Error as error:
        raise OptionsError(f"{path} cannot be read as CSV: {error}; is a quote left open?") from None


def _read(path: Path, columns: Sequence[str]) -> Iterator[Pair]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        lacking = [name for name in columns if name not in (reader.fieldnames or ())]
        if lacking:
            raise OptionsError(
                f"{path} has no column {lacking[0]!r}; it has {', '.join(reader.fieldnames or ()) or 'no header'}"
            )
        for row in reader:
            a, b, told = (row[name] for name in columns)
            word = (told or "").strip().lower()
            if not a or not b or word not in _YES | _NO:
                raise OptionsError(
                    f"line {reader.line_num} of {path}: two questions and 1 or 0 are wanted, the last is {told!r}"
                )
            yield Pair(a, b, word in _YES)


def judged(pairs: Iterable[Pair], similarities: Iterable[float]) -> list[Judged]:
    """Return the pairs with their likeness and the laws' verdicts; two equal texts are no pair and left out."""
    return [
        Judged(similarity, disagreement(pair.a, pair.b) is None, pair.same)
        for pair, similarity in zip(pairs, similarities, strict=True)
        if pair.a != pair.b
    ]


def calibrate(
    sample: Sequence[Judged],
    *,
    error: float = 0.01,
    confidence: float = 0.95,
    thresholds: Sequence[float] = THRESHOLDS,
    laws: bool = True,
) -> Calibration:
    """Return the effect of each threshold on `sample`, and the lowest that keeps `error` with `confidence`.

    Raises OptionsError.
    """
    for name, value in (("error", error), ("confidence", confidence)):
        if not 0 < value < 1:
            raise OptionsError(f"{name} must be over 0 and under 1, not {value!r}")
    if not sample or not thresholds:
        raise OptionsError("a calibration needs at least one pair and one threshold")
    each = 1 - (1 - confidence) / len(thresholds)
    rows = tuple(_row(sample, threshold, each, laws) for threshold in sorted(thresholds, reverse=True))
    supported = [row for row in rows if row.served and row.bound <= error]
    return Calibration(
        rows=rows,
        pairs=len(sample),
        error=error,
        confidence=confidence,
        chosen=supported[-1] if supported else None,
        needed=needed(error, each),
    )


def _row(sample: Sequence[Judged], threshold: float, confidence: float, laws: bool) -> Row:
    served = [one for one in sample if one.similarity >= threshold and (one.lawful or not laws)]
    wrong = sum(not one.same for one in served)
    same = sum(one.same for one in sample)
    right = len(served) - wrong
    sides = 1 - (1 - confidence) / 2
    return Row(
        threshold=threshold,
        served=len(served),
        wrong=wrong,
        same=same,
        bound=upper_bound(wrong, len(served), confidence),
        recall_low=lower_bound(right, same, sides),
        recall_high=upper_bound(right, same, sides),
    )


def lines(found: Calibration) -> Iterator[str]:
    """Yield the lines of a calibration's report."""
    yield f"{'threshold':>9} {'served':>7} {'wrong':>6} {'precision':>10} {'error at most':>14} {'recall':>7}"
    for row in found.rows:
        precision = "-" if row.precision is None else f"{row.precision:.2%}"
        recall = "-" if row.recall is None else f"{row.recall:.1%}"
        yield (
            f"{row.threshold:>9.2f} {row.served:>7} {row.wrong:>6} {precision:>10} "
            f"{row.bound:>14.2%} {recall:>7}{'  <' if row is found.chosen else ''}"
        )
    chosen = found.chosen
    if chosen is not None:
        yield (
            f"similar_threshold = {chosen.threshold:.2f}: of the answers served at most {chosen.bound:.2%} are wrong "
            f"({found.confidence:.0%} confidence for all thresholds together); recall {chosen.recall or 0:.1%}, "
            f"from {chosen.recall_low:.1%} to {chosen.recall_high:.1%}"
        )
        return
    most = max(row.served for row in found.rows)
    yield (
        f"No threshold: {found.pairs} pairs do not support an error of at most {found.error:.2%} with "
        f"{found.confidence:.0%} confidence. At most {most} answers were served; {found.needed} "
        "without a wrong one would."
    )
