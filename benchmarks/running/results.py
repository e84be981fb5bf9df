"""Results of a question: tables of rows, written as JSON that the page and the pictures are made from."""

from __future__ import annotations

import asyncio
import json
import statistics
from collections.abc import Callable, Coroutine
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.running.machine import Watch, described
from benchmarks.running.rounds import Samples, ratio, scale, spread

RESULTS: Final = Path(__file__).parents[1] / "results"
OURS: Final = "cachecore"


ABSENT: Final = 77
"""The exit status of a benchmark that lacks something."""


class AbsentError(Exception):
    """Something that the question needs is not on this machine. The text names it, and the way to get it."""


def folder() -> Path:
    """Return where results are written: those of a quick run say little, and replace no others."""
    return RESULTS / "quick" if scale() < 1 else RESULTS


def option() -> str:
    """Return the option that this run was started with, as the end of a command."""
    return " --quick" if scale() < 1 else " --long" if scale() > 1 else ""


@dataclass
class Table:
    """Rows of figures, the best first."""

    title: str
    by: str
    """The column that rows are ordered and drawn by."""
    rows: dict[str, dict[str, Any]]
    """Contender to column to figure; `error` instead of figures where it could not do it."""
    lower_is_better: bool = True
    note: str = ""

    def ordered(self) -> Table:
        """Return the table with its best row first, and those without a figure last."""
        worst = float("inf")

        def place(row: tuple[str, dict[str, Any]]) -> float:
            value = row[1].get(self.by)
            if not isinstance(value, int | float):
                return worst
            return float(value) if self.lower_is_better else -float(value)

        return Table(self.title, self.by, dict(sorted(self.rows.items(), key=place)), self.lower_is_better, self.note)


def of_samples(title: str, samples: Samples, base: str | None = None, note: str = "") -> Table:
    """Return the table of timed turns: medians in µs, spread in percent, and ratios to `base`."""
    rows: dict[str, dict[str, Any]] = {}
    for name, taken in samples.items():
        rows[name] = {
            "processor µs": round(statistics.median(one.processor for one in taken), 3),
            "wall µs": round(statistics.median(one.wall for one in taken), 3),
            "± %": round(100 * spread([one.processor for one in taken]), 1),
        }
        if base is not None:
            rows[name][f"× {base}"] = round(ratio(samples, name, base), 2)
    return Table(title, "processor µs", rows, note=note)


@dataclass(frozen=True)
class Question:
    """One thing to find out, in one module of `benchmarks`."""

    name: str
    """The module's."""
    asks: str
    measure: Callable[[], Coroutine[Any, Any, list[Table]]]
    packages: list[str] = field(default_factory=list)
    """The distributions of peers whose versions are told."""
    timed: bool = True
    """Whether other work on the machine changes the figures: not if they count hits or bytes."""

    def main(self) -> int:
        """Measure, print and write the result; return the exit status."""
        try:
            asyncio.run(self.answer())
        except AbsentError as error:
            print(f"  left out: {error}")
            return ABSENT
        return 0

    async def answer(self) -> dict[str, Any]:
        """Measure, print and write the result; return it."""
        watch = Watch.after_a_look()
        tables = [table.ordered() for table in await self.measure()]
        quiet = watch.end()
        if not self.timed:
            quiet |= {"trusted": True, "because": ""}
        result = {
            "question": self.name + "_long" * (scale() > 1),  # beside the result of the usual run
            "asks": self.asks,
            "command": f"python -m benchmarks {self.name}{option()}",
            "machine": described(self.packages),
            "quiet": quiet,
            "tables": [asdict(table) for table in tables],
        }
        place = folder()
        place.mkdir(exist_ok=True)
        (place / f"{result['question']}.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
        show(result)
        return result


def earlier(question: str, title: str) -> dict[str, dict[str, Any]]:
    """Return the rows of a table as they were measured last; none if they were not."""
    try:
        result = json.loads((folder() / f"{question}.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return next((dict(table["rows"]) for table in result.get("tables", ()) if table["title"] == title), {})


def show(result: dict[str, Any]) -> None:
    """Print the tables of a result."""
    for table in result["tables"]:
        print(f"\n  {table['title']}")
        for name, row in table["rows"].items():
            print(f"    {name:44}" + "   ".join(f"{column} {value}" for column, value in row.items()))
    quiet = result["quiet"]
    if not quiet["trusted"]:
        print(f"  NOT TO BE TRUSTED: {quiet['because']}")
