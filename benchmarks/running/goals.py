"""Bounds that figures are meant to keep, each with the benchmark that measures it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound for one cell of a table, or for its ratio to the same cell of other rows."""

    work: str
    """The text of the row on the page."""
    question: str
    table: str
    row: str
    column: str
    bound: float
    at_most: bool = True
    over: tuple[str, ...] = ()
    """Rows by whose sum the cell is divided."""

    def kept(self, value: float) -> bool:
        """Return whether a value is within the bound."""
        return value <= self.bound if self.at_most else value >= self.bound


def found(goal: Goal, results: list[dict[str, Any]]) -> float | None:
    """Return the figure of a goal; None if it was not measured."""
    for result in results:
        for table in result["tables"] if result["question"] == goal.question else ():
            if table["title"] == goal.table:
                cells = [table["rows"].get(name, {}).get(goal.column) for name in (goal.row, *goal.over)]
                if any(not isinstance(cell, int | float) for cell in cells):
                    return None
                return float(cells[0]) / (sum(cells[1:]) if goal.over else 1.0)
    return None


GOALS: Final[tuple[Goal, ...]] = ()
