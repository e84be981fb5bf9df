"""The page of all figures, made of the results that the benchmarks have left in `benchmarks/results`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MOST_ROWS = 40
"""Larger results are named, not shown."""
INTRODUCTION = """# All figures

Figures of the last run of each benchmark, as `python -m benchmarks` (or `python -m benchmarks.<name>` for one) wrote
them; [performance](performance.md) shows those that compare with other libraries. Compare ratios within one table: the
machines differ, and so do the runs. Goals that were missed stand first.
"""


def page(folder: Path) -> str:
    """Return the Markdown of the page for the results in `folder`."""
    results = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}
    parts = [INTRODUCTION, "## Goals missed", _table(("benchmark", "figure", "measured", "goal"), _missed(results))]
    for name, result in results.items():
        rows = [(path, _short(value)) for path, value in _flat(result)]
        parts.append(f"## `{name}`")
        if len(rows) > MOST_ROWS:
            parts.append(f"{len(rows)} figures, in `benchmarks/results/{name}.json`. The first {MOST_ROWS}:")
        parts.append(_table(("figure", "value"), rows[:MOST_ROWS]))
    return "\n\n".join(parts) + "\n"


def _missed(results: dict[str, Any]) -> list[tuple[str, ...]]:
    rows = []
    for name, result in results.items():
        for goal in result.get("goals", ()):
            at_most = "ratio" in goal
            measured = goal["ratio"] if at_most else goal["measured"]
            if measured > goal["goal"] if at_most else not goal["reached"]:
                label = goal["figure"] + (f", {goal['tasks']} tasks" if "tasks" in goal else "")
                bound = "at most" if at_most else "at least"
                rows.append((f"`{name}`", label, _short(measured), f"{bound} {_short(goal['goal'])}"))
    return rows


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, part in value.items():
            if name != "goals":
                yield from _flat(part, f"{path} · {name}" if path else str(name))
    elif isinstance(value, list):
        for number, part in enumerate(value, 1):
            yield from _flat(part, f"{path} {number}")
    else:
        yield path, value


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    if not rows:
        return "None."
    lines = [heads, ("---",) * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
