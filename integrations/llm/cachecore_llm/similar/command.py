"""`cachecore calibrate PAIRS.csv`: the command line around a calibration."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from cachecore.cli import outcome
from cachecore.contract.errors import OptionsError
from cachecore_llm.similar.calibration import COLUMNS, Calibration, Pair, judged, lines, read_pairs
from cachecore_llm.similar.calibration import calibrate as calibrated
from cachecore_llm.similar.grams import cosine, grams


def calibrate(
    pairs: Annotated[
        Path,
        typer.Argument(help="CSV: two questions, and 1 if one answer is right for both.", exists=True, dir_okay=False),
    ],
    error: Annotated[float, typer.Option(help="The part of the answers served that may be wrong.")] = 0.01,
    confidence: Annotated[float, typer.Option(help="How sure that has to be.")] = 0.95,
    columns: Annotated[str, typer.Option(help="The names of the three columns.")] = ",".join(COLUMNS),
    laws: Annotated[bool, typer.Option(help="Whether the laws hold, as they do in a cache.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show precision and recall of similar answers by threshold, and pick one for a wanted error.

    Exits with 1 if the pairs do not support any threshold, with 2 if they cannot be read.
    """
    names = tuple(name.strip() for name in columns.split(","))
    try:
        if len(names) != len(COLUMNS):
            raise OptionsError(f"--columns needs three names such as {','.join(COLUMNS)}, not {columns!r}")
        sample = list(read_pairs(pairs, names))
        found = calibrated(judged(sample, map(_likeness, sample)), error=error, confidence=confidence, laws=laws)
    except OptionsError as refused:
        outcome.refuse(str(refused), as_json=as_json)
    ended = outcome.Ended(outcome.NO if found.chosen is None else outcome.OK)
    outcome.conclude(ended, dataclasses.asdict(found), lambda: _show(found), as_json=as_json)


def _show(found: Calibration) -> None:
    for line in lines(found):
        typer.echo(line)


def _likeness(pair: Pair) -> float:
    return cosine(grams(pair.a), grams(pair.b))
