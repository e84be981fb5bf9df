"""Run benchmarks, each in a process of its own: `python -m benchmarks [--quick] [name …]`; then pictures and the page.

`--quick` takes a tenth of the time, to see that everything runs: its figures say little.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import subprocess
import sys
import time
from typing import Final

import benchmarks
from benchmarks import page
from benchmarks.running.rounds import SCALE

MOST_SECONDS: Final = 240.0
"""That one module may take."""
NO_QUESTIONS: Final = ("__main__", "counting", "counts", "page")


def every_name() -> list[str]:
    """Return the names of all questions."""
    found = (one.name for one in pkgutil.iter_modules(benchmarks.__path__) if not one.ispkg)
    return sorted(name for name in found if name not in NO_QUESTIONS)


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
                process.terminate()
                code = f"ended after {MOST_SECONDS:g} s"
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
    names = [name for name in arguments if name != "--quick"] or every_name()
    unknown = set(names) - set(every_name())
    if unknown:
        print(f"there is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(every_name())}")
        return 2
    return run_all(names)


if __name__ == "__main__":
    sys.exit(main())
