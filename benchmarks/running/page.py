"""`docs/performance.md`, made from the results: every table with the peers that are better in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from benchmarks.running.results import OURS, RESULTS

PAGE: Final = Path(__file__).parents[2] / "docs" / "performance.md"
HEAD: Final = """# Performance

Made by `python -m benchmarks.page` from `benchmarks/results/*.json`; edit nothing here. `make bench` measures all
again. Contenders take turns in one process, in an order drawn anew each round; figures are medians. "processor µs" is
the time that the process computed for one call, all threads; "± %" is half of the distance between the quartiles, as a
share of the median; "×" is the median of the ratios within a round. The best row comes first, ours are bold. A table
that says "not to be trusted" was measured while other work used the machine.
"""


def stored() -> list[dict[str, Any]]:
    """Return all results that have tables, by name."""
    found = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]
    return [result for result in found if isinstance(result, dict) and "question" in result and "quiet" in result]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value).replace("|", "\\|")


def table_lines(table: dict[str, Any]) -> list[str]:
    """Return the lines of a table."""
    columns: list[str] = []
    for row in table["rows"].values():
        columns += [column for column in row if column not in columns]
    lines = ["| |" + "".join(f" {column} |" for column in columns), "|---|" + "---|" * len(columns)]
    for name, row in table["rows"].items():
        shown = f"**{name}**" if name.startswith(OURS) else name
        lines.append(f"| {shown} |" + "".join(f" {_cell(row.get(column))} |" for column in columns))
    return lines


def _table(table: dict[str, Any]) -> list[str]:
    note = [table["note"], ""] if table["note"] else []
    return [f"### {table['title']}", "", *note, *table_lines(table), ""]


def _section(result: dict[str, Any]) -> list[str]:
    machine, quiet = result["machine"], result["quiet"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    lines = [f"## {result['asks']}", ""]
    lines.append(
        f"`{result['command']}`, {machine['date']}: {machine['python']}, {machine['cores']} × {machine['processor']}, "
        f"{machine['system']}; {versions}. It took {quiet['seconds']:g} s; load before {quiet['load_before']:g}, "
        f"others used {quiet['others_cores']} cores meanwhile."
    )
    if not quiet["trusted"]:
        lines += ["", f"> **Not to be trusted:** {quiet['because']}."]
    lines.append("")
    for table in result["tables"]:
        lines += _table(table)
    if (RESULTS / f"{result['question']}.svg").exists():
        lines += [f"![{result['asks']}](../benchmarks/results/{result['question']}.svg)", ""]
    return lines


def made(results: list[dict[str, Any]]) -> str:
    """Return the page of `results`."""
    lines = [HEAD]
    for result in results:
        lines += _section(result)
    return "\n".join(lines).rstrip() + "\n"
