"""What a hit costs through each framework, with cachecore in its slot and with the framework's own cache in memory.

    make hits                            # in the venvs of `make frameworks` and `make sdks`, about two minutes
    python -m benchmarks.frameworks web  # those of one kind that are installed here: models, web, agents

Prints a line for each framework, and writes benchmarks/results/frameworks.json and the table of docs/frameworks.md. A
framework that is not installed keeps the figures that are there. A figure is the median of the processor time of a hit
in memory: other work on the machine changes that least.
"""

from __future__ import annotations

import importlib.util
import json
import os
import random
import sys
from pathlib import Path
from typing import Any, Final

from benchmarks.frameworks import models, web
from benchmarks.frameworks.measuring import Row, measured
from benchmarks.running.machine import Watch, described

ROOT: Final = Path(__file__).resolve().parents[2]
RESULTS: Final = ROOT / "benchmarks" / "results" / "frameworks.json"
PAGE: Final = ROOT / "docs" / "frameworks.md"
BEGIN: Final = "<!-- the cost of a hit -->\n"
END: Final = "<!-- end of the cost of a hit -->\n"


def cases(kinds: list[str]) -> dict[str, Any]:
    """Return the cases of these kinds (models, web, agents) by the package that each needs; without any, all."""
    found: dict[str, dict[str, Any]] = {"models": models.CASES, "web": web.CASES}
    if _installed("cachecore_llm"):
        from benchmarks.frameworks import agents

        found["agents"] = agents.CASES
    return {package: case for kind in kinds or found for package, case in found[kind].items()}


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # the parent of a namespace package
        return False


def figures(row: Row, chance: random.Random) -> dict[str, Any]:
    """Return what is kept of one framework, with the machine that it was measured on."""
    watch = Watch()
    found: dict[str, Any] = {"call": row.call, "own_is": row.own_is, **measured(row, chance)}
    machine = described([*row.packages, "cachecore-framework"])
    versions = {name: machine["versions"][name] for name in row.packages}
    return {**found, "versions": versions, "date": machine["date"], "python": machine["python"], **watch.end()}


def table(rows: dict[str, Any]) -> str:
    """Return the table of the page."""
    lines = [
        "| a hit through | cachecore | its own | ratio | its own is |",
        "|---|---|---|---|---|",
        *(
            f"| {name} {next(iter(row['versions'].values()))}, {row['call']} | {row['cachecore_us']:,.1f} µs "
            f"| {row['own_us']:,.1f} µs | {row['ratio']:g} | {row['own_is']} |"
            for name, row in rows.items()
        ),
    ]
    dates = " and ".join(sorted({row["date"] for row in rows.values()}))
    busy = [row["others_cores"] for row in rows.values() if not row["trusted"]]
    told = f"`make hits`, {dates}, {next(iter(rows.values()))['python']}; medians of processor time."
    if busy:
        told += (
            f"\n{len(busy)} of {len(rows)} rows were measured on a busy machine (others used up to "
            f"{max(one or 0 for one in busy):.1f} cores): run it again on a quiet one."
        )
    return "\n".join([told, "", *lines]) + "\n"


def main() -> None:
    for fetched in ("MODEL_COST_MAP", "ANTHROPIC_BETA_HEADERS", "BLOG_POSTS"):
        os.environ.setdefault(f"LITELLM_LOCAL_{fetched}", "True")
    chance = random.Random(7)
    rows: dict[str, Any] = json.loads(RESULTS.read_text())["hits"] if RESULTS.exists() else {}
    for package, case in cases(sys.argv[1:]).items():
        if not _installed(package):
            continue
        try:
            row: Row = case()
        except ImportError as error:  # a framework that is here for another one, without what its case needs
            print(f"{package}: left out, {error}")
            continue
        rows[row.framework] = found = figures(row, chance)
        print(
            f"{row.framework:18} cachecore {found['cachecore_us']:9.1f} µs   own {found['own_us']:9.1f} µs"
            f"   x {found['ratio']:g}   {found['because'] or 'quiet'}",
            flush=True,
        )
    RESULTS.write_text(json.dumps({"hits": rows}, indent=2, ensure_ascii=False) + "\n")
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    PAGE.write_text(before + BEGIN + "\n" + table(rows) + "\n" + END + rest.partition(END)[2])


if __name__ == "__main__":
    main()
