"""Run benchmarks, each in a process of its own: `python -m benchmarks [--quick | --all] [name …]`; then the page.

Without names, those whose answers are on the page; with `--all`, those too that print and store figures of their own.
`--quick` takes a tenth of the time, to see that everything runs: its figures say little.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pkgutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import benchmarks
from benchmarks import page
from benchmarks.running.rounds import SCALE

MOST_SECONDS: Final = 240.0
"""That one module may take."""
GRACE: Final = 20.0
"""Seconds to end its servers in."""
NO_QUESTIONS: Final = ("__main__", "counting", "counts", "page")


def every_name() -> list[str]:
    """Return the names of all benchmarks."""
    found = (one.name for one in pkgutil.iter_modules(benchmarks.__path__) if not one.ispkg)
    return sorted(name for name in found if name not in NO_QUESTIONS)


def on_the_page() -> list[str]:
    """Return the names of those whose answers are on the page; importing them all would take seconds."""
    folder = Path(__file__).parent
    return [name for name in every_name() if "\nQUESTION = " in (folder / f"{name}.py").read_text()]


def run_all(names: list[str]) -> int:
    """Run each question in a process of its own, one after the other; return how many failed."""
    failed = 0
    for name in names:
        print(f"\n== {name}", flush=True)
        began = time.monotonic()
        with subprocess.Popen([sys.executable, "-m", "benchmarks", "--here", name]) as process:
            try:
                code: int | str = process.wait(MOST_SECONDS)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGINT)  # so that it ends its servers
                code = f"ended after {MOST_SECONDS:g} s"
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(GRACE)
                process.kill()
        print(f"== {name}: {time.monotonic() - began:.0f} s" + (f", {code}" if code else ""), flush=True)
        failed += bool(code)
    page.main()
    return failed


def main() -> int:
    arguments = sys.argv[1:]
    if arguments[:1] == ["--here"]:
        module = importlib.import_module(f"benchmarks.{arguments[1]}")
        if hasattr(module, "QUESTION"):
            return int(module.QUESTION.main())
        module.main()  # what it returns is how many of its goals were missed, which is no failure of the run
        return 0
    if "--quick" in arguments:
        os.environ[SCALE] = "0.1"
    every = every_name() if "--all" in arguments else on_the_page()
    names = [name for name in arguments if name not in ("--quick", "--all")] or every
    unknown = set(names) - set(every_name())
    if unknown:
        print(f"there is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(every_name())}")
        return 2
    return run_all(names)


if __name__ == "__main__":
    sys.exit(main())
