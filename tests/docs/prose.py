"""How plain prose is: words that stand for a person or a thing without a name, per 1,000 words.

`python -m tests.docs.prose docs/redis.md …` prints the rate of each file and the lines with such words.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

RIDDLES: Final = {"who", "whose", "whom", "whoever", "nobody", "somebody", "anybody", "whatever", "whichever"}
MOST_RIDDLES: Final = 1.5
MOST_WHATS: Final = 3.0
LEAST_WORDS: Final = 700
"""Shorter texts may have one of each kind."""


class Measure(NamedTuple):
    """Counts of one text."""

    words: int
    riddles: int
    whats: int

    @property
    def is_plain(self) -> bool:
        """Return whether both rates, per 1,000 words, are within their bounds."""
        thousands = max(self.words, LEAST_WORDS) / 1000
        return self.riddles <= MOST_RIDDLES * thousands and self.whats <= MOST_WHATS * thousands


def measured(lines: list[str]) -> Measure:
    words = [word for line in lines for word in re.findall(r"[a-z']+", line.lower())]
    return Measure(len(words), sum(word in RIDDLES for word in words), words.count("what"))


def of_markdown(text: str) -> list[str]:
    """Return the lines of a page without its code, its comments and the addresses of its links."""
    for pattern in (r"^```.*?^```", r"<!--.*?-->", r"`[^`]*`", r"(?<=\])\([^)]*\)"):
        text = re.sub(pattern, lambda found: "\n" * found[0].count("\n"), text, flags=re.MULTILINE | re.DOTALL)
    return text.splitlines()


def of_code(text: str) -> list[str]:
    """Return the lines of the docstrings and comments of a module, without code in them."""
    lines: list[str] = []
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Expr(ast.Constant(str() as said)):
                lines += said.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            lines.append(token.string)
    return [re.sub(r"`[^`]*`", "", line) for line in lines]


def named(lines: list[str]) -> Iterator[str]:
    """Yield the lines with words that count, with their numbers."""
    for number, line in enumerate(lines, 1):
        if (RIDDLES | {"what"}) & set(re.findall(r"[a-z']+", line.lower())):
            yield f"{number}: {line.strip()}"


def main() -> None:
    for name in sys.argv[1:]:
        text = Path(name).read_text(encoding="utf-8")
        lines = of_markdown(text) if name.endswith(".md") else of_code(text)
        measure = measured(lines)
        print(name, *measure, "plain" if measure.is_plain else "NOT PLAIN", *named(lines), sep="\n  ")


if __name__ == "__main__":
    main()
