"""Tables of results inside other documents: the text between two marks is written from the results.

<!-- measured: redis_calls / hit on Redis, 64 at once -->
<!-- end of measured -->
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from benchmarks.running.page import PAGE, table_lines

ROOT: Final = Path(__file__).parents[2]
BLOCK: Final = re.compile(r"(<!-- measured: (\w+) / ([^>]+?) -->\n).*?(<!-- end of measured -->)", re.DOTALL)


def documents() -> Iterable[Path]:
    """Return the documents that may have tables of results."""
    every = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [path for path in every if path != PAGE]


def filled(text: str, results: list[dict[str, Any]]) -> str:
    """Return a document with its tables as the results have them.

    Raises ValueError if it names a table that there is not.
    """
    tables = {(result["question"], table["title"]): (result, table) for result in results for table in result["tables"]}

    def block(match: re.Match[str]) -> str:
        name = (match[2], match[3])
        if name not in tables:
            raise ValueError(
                f"no result has the table {match[3]!r} of {match[2]!r}: run `python -m benchmarks {match[2]}`"
            )
        result, table = tables[name]
        machine, quiet = result["machine"], result["quiet"]
        place = f"{machine['python']}, {machine['cores']} × {machine['processor']}"
        said = f"`{result['command']}`, {machine['date']}, {place}"
        trust = "" if quiet["trusted"] else f". Not to be trusted: {quiet['because']}"
        return f"{match[1]}{said}{trust}.\n\n" + "\n".join(table_lines(table)) + f"\n\n{match[4]}"

    return BLOCK.sub(block, text)


def fill(results: list[dict[str, Any]]) -> int:
    """Write the tables of all documents; return how many documents name a table that there is not."""
    failed = 0
    for document in documents():
        text = document.read_text(encoding="utf-8")
        try:
            new = filled(text, results)
        except ValueError as error:
            print(f"{document}: {error}")
            failed += 1
        else:
            if new != text:
                document.write_text(new, encoding="utf-8")
    return failed
