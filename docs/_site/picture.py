"""Draw the picture of README.md from the output of the demo: `make demo | python docs/_site/picture.py docs/demo.svg`.

The parts shown are the output's own lines. The picture refers to no font or file elsewhere.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

PARTS = ("1.", "2.", "5.", "6.")
WIDTH = 96
FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
ROWS = ("requests", "hit rate", "provider calls", "money", "latency of a hit, p50")
RULE = re.compile(r"^─+ (.+?) ─+$")


def shown(output: str) -> list[str]:
    """Return the lines of the demo's output that the picture shows.

    Raises:
        ValueError: a part is missing, so that `output` is no whole demo.
    """
    lines: list[str] = []
    found = set()
    part = ""
    for line in output.splitlines():
        if rule := RULE.match(line):
            part = rule[1].split()[0]
            if part in PARTS:
                found.add(part)
                lines += ["", f"── {rule[1]}"]
        elif part in PARTS[:2]:
            if any(line.startswith(f"│ {row}") for row in ROWS):
                cells = [cell.strip() for cell in line.strip("│").split("│")]
                lines.append(f"   {cells[0]:<28}{cells[1]:>16}")
        elif part in PARTS and line.strip():
            lines.append(f"  {line.rstrip()}")
    if missing := set(PARTS) - found:
        raise ValueError(f"the output has no part {', '.join(sorted(missing))}: is it that of a whole `make demo`?")
    return ["$ make demo", *lines]


def drawn(lines: list[str]) -> str:
    """Return an SVG of a terminal that shows `lines`, each cut at its width."""
    with Path("/dev/null").open("w") as nowhere:
        console = Console(record=True, width=WIDTH, file=nowhere, force_terminal=True)
        for line in lines:
            style = "bold yellow" if line.startswith("──") else "bold" if line.startswith("$") else ""
            text = Text(line, style=style, no_wrap=True, overflow="ellipsis")
            if not style:
                text.highlight_words(["100.0%", "hit", "joined"], "green")
                text.highlight_words(["miss"], "red")
            text.truncate(WIDTH, overflow="ellipsis")
            console.print(text, highlight=False)
        svg = console.export_svg(title="cachecore", theme=MONOKAI)
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    return svg.replace("Fira Code, monospace", FONT)


def main() -> None:
    """Read the output from stdin and write the picture to the path that is the argument."""
    target = Path(sys.argv[1])
    target.write_text(drawn(shown(sys.stdin.read())), encoding="utf-8")


if __name__ == "__main__":
    main()
