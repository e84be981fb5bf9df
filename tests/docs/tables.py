"""Tables of pages, for tests that compare them with what is measured."""

from __future__ import annotations

import re
from pathlib import Path


def cells(page: Path, head: str) -> dict[str, dict[str, str]]:
    """Return the cells of a table of `page` by row and by column. `head` is the heading of its first column."""
    lines = page.read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {head} |"))
    heads = [cell.strip().strip("`") for cell in lines[start].strip("|").split("|")][1:]
    found = {}
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        row, *columns = (cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|")))
        found[row] = dict(zip(heads, columns, strict=True))
    return found
