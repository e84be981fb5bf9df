"""Run benchmarks, each in a process of its own, then make the page: `python -m benchmarks [option] [name …]`.

Without names, all that `make bench` runs; `--all` adds those that it leaves out (ON_REQUEST has the reasons).
`--quick` takes a tenth of the time, to see that everything runs: its results and its page stay in
`benchmarks/results/quick`. `--long` takes five times as long; its results stand beside the usual ones. `--list` prints
the names and the questions.

The exit status is 1 if a benchmark failed; all others have run and are on the page then.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from pathlib import Path
from typing import Final

import benchmarks
from benchmarks import page
from benchmarks.running import runner
from benchmarks.running.rounds import LONG, QUICK, SCALE

OPTIONS: Final = ("--quick", "--long", "--all", "--list")
ON_REQUEST: Final = {
    "similar_first": "it counts, and gives the same on every machine",
    "similar_laws": "it counts, and gives the same on every machine; it needs real questions beside the checkout",
    "similar_recall": "as similar_laws, and the weights of a model",
}
"""Benchmarks that `make bench` does not run, and why."""
MARK: Final = "\nQUESTION = "


def names() -> list[str]:
    """Return the names of all benchmarks; importing them would take seconds."""
    folder = Path(__file__).parent
    found = (one.name for one in pkgutil.iter_modules(benchmarks.__path__) if not one.ispkg)
    return sorted(name for name in found if MARK in (folder / f"{name}.py").read_text(encoding="utf-8"))


def run_all(chosen: list[str]) -> int:
    """Run benchmarks one after the other, then make the page; return 1 if one failed."""
    outcomes = []
    for name in chosen:
        print(f"\n== {name}", flush=True)
        outcomes.append(runner.run(name))
        one = outcomes[-1]
        print(f"== {name}: {one.seconds:.0f} s" + (f", {one.failed}" if one.failed else ""), flush=True)
    made = page.main()
    print(runner.summary(outcomes))
    return made or int(any(one.failed for one in outcomes))


def main() -> int:
    arguments = sys.argv[1:]
    if arguments[:1] == ["--here"]:
        return int(importlib.import_module(f"benchmarks.{arguments[1]}").QUESTION.main())
    if "--list" in arguments:
        for name in names():
            print(f"{name:20}{importlib.import_module(f'benchmarks.{name}').QUESTION.asks}")
        return 0
    if "--quick" in arguments:
        os.environ[SCALE] = str(QUICK)
    elif "--long" in arguments:
        os.environ[SCALE] = str(LONG)
    usual = [name for name in names() if "--all" in arguments or name not in ON_REQUEST]
    chosen = [name for name in arguments if name not in OPTIONS] or usual
    unknown = set(chosen) - set(names())
    if unknown:
        print(f"there is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(names())}")
        return 2
    return run_all(chosen)


if __name__ == "__main__":
    sys.exit(main())
