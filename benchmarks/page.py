"""Make `docs/performance.md`, pictures, and the tables in other documents: `python -m benchmarks.page`.

Of a quick run only the page and the pictures are made, beside its results.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from benchmarks.running import figures, page, pictures
from benchmarks.running.results import RESULTS, folder


def newer(result: Path, picture: Path) -> bool:
    """Return whether a result is not drawn yet."""
    return not picture.exists() or result.stat().st_mtime_ns > picture.stat().st_mtime_ns


def main() -> int:
    """Draw all pictures, write the page and the tables in other documents; return how many documents could not be."""
    place = folder()
    target = page.PAGE if place == RESULTS else place / page.PAGE.name
    beside = target.parent / page.PICTURES
    beside.mkdir(exist_ok=True)
    results = page.stored(place)
    if importlib.util.find_spec("matplotlib"):
        for result in results:
            name = result["question"]
            if newer(place / f"{name}.json", beside / f"{name}.svg"):
                pictures.drawn(result, beside)
    else:
        print("matplotlib is not installed, so the pictures stay as they are: `make bench` installs it")
    target.write_text(page.made(results, beside), encoding="utf-8")
    return figures.fill(results) if place == RESULTS else 0


if __name__ == "__main__":
    sys.exit(main())
