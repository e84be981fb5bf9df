"""Pictures of results: one SVG for each question, a row of bars for each table."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from benchmarks.running.results import OURS

OURS_COLOUR: Final = "#1f6feb"
MOST_TABLES: Final = 12
PEER_COLOUR: Final = "#9aa4b2"


def drawn(result: dict[str, Any], folder: Path) -> Path | None:
    """Draw the tables of a result into `<question>.svg`; return its path, None if there is nothing to draw."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "cachecore"  # the same figures give the same file
    from matplotlib import pyplot

    tables = []
    for table in result["tables"]:
        bars = {name: row[table["by"]] for name, row in table["rows"].items() if _drawable(row.get(table["by"]))}
        if bars:
            tables.append((table, bars))
    if not tables:
        return None
    del tables[MOST_TABLES:]  # the page has them all
    heights = [1 + 0.28 * len(bars) for _, bars in tables]
    figure, places = pyplot.subplots(
        len(tables), 1, figsize=(8, sum(heights)), height_ratios=heights, squeeze=False, layout="constrained"
    )
    for (table, bars), place in zip(tables, places[:, 0], strict=True):
        colours = [OURS_COLOUR if name.startswith(OURS) else PEER_COLOUR for name in bars]
        place.barh(list(bars), list(bars.values()), color=colours)
        place.invert_yaxis()
        values = [value for value in bars.values() if value > 0]
        if values and max(values) > 30 * min(values):
            place.set_xscale("log")
        place.set_title(table["title"], fontsize=9, loc="left")
        place.set_xlabel(table["by"], fontsize=8)
        place.tick_params(labelsize=7)
        place.spines[["top", "right"]].set_visible(False)
    path = folder / f"{result['question']}.svg"
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    # matplotlib ends lines of paths with a space
    path.write_text("".join(f"{line.rstrip()}\n" for line in path.read_text().splitlines()))
    return path


def _drawable(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
