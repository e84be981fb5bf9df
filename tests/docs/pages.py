"""The blocks of a page of documentation, and how each is run.

Python blocks run in the order of the page, in one process and one namespace, in an empty folder. A block may be
followed by a `text` block, the output; without one it prints nothing. `…` in an output stands for any text of one line,
a line of `…` alone for any lines. A block that defines tests is run by pytest, below the blocks before it that define
none. A comment before a block says otherwise:

`<!-- file: app.py -->`: the block is the content of that file.
`<!-- background: 8000 -->`: the command serves on that port until the end of the page. A free port takes its place.
`<!-- background: no port -->`: the command runs until the end of the page.
`<!-- needs: module -->`: run where that module is installed.
`<!-- skip: reason -->`: not run; Python must compile all the same.

Lines of a `console` block that begin with `$ ` are run by the shell, and what follows is compared with their output.
`redis://localhost` (and `:6379`, `/0`) stands for the address of an empty server, in every block.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
DOCS: Final = ROOT / "docs"
BLOCK: Final = re.compile(
    r"(?:^<!-- (?P<note>file|background|needs|skip): (?P<said>[^>]+?) -->\n+)?"
    r"^```(?P<language>\w+)\n(?P<code>.*?)^```$"
    r"(?:\n+^```text\n(?P<output>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)
TEST: Final = re.compile(r"^(async )?def test_", re.MULTILINE)
RUN: Final = {"python", "console"}
SHOWN: Final = {"bash", "go", "http", "ini", "javascript", "json", "mermaid", "sh", "sql", "text", "toml", "yaml"}
"""Languages of blocks that are only shown, unless they are files."""
REDIS: Final = re.compile(r"redis://localhost(:6379)?(/0)?(?![\w/:])")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block; `note` and `said` are those of the comment before it."""

    language: str
    code: str
    output: str
    note: str
    said: str

    @property
    def is_test(self) -> bool:
        return self.language == "python" and TEST.search(self.code) is not None

    @property
    def commands(self) -> list[tuple[str, str]]:
        """Return each command of a `console` block with the output that the page shows for it."""
        parts = re.split(r"^\$ ", self.code, flags=re.MULTILINE)
        assert not parts[0].strip(), f"a console block begins with a command: {self.code!r}"
        return [(command, output) for command, _, output in (part.partition("\n") for part in parts[1:])]


def blocks(text: str) -> list[Block]:
    """Return the blocks of a page.

    Raises:
        AssertionError: a block has no language, or one that nothing here knows.
    """
    found = [Block(*(match[name] or "" for name in FIELDS)) for match in BLOCK.finditer(text)]
    for block in found:
        assert block.language in RUN | SHOWN, f"what is done with ```{block.language}? {block.code[:60]!r}"
    fences = len(re.findall(r"^```", text, re.MULTILINE))
    outputs = sum(bool(re.search(r"\n", block.output)) for block in found)
    assert fences == 2 * (len(found) + outputs), "a fence without a language, or one that is not closed"
    return found


FIELDS: Final = ("language", "code", "output", "note", "said")


def pages() -> list[Path]:
    """Return every page for users."""
    beside = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("examples/*/README.md")]
    members = [*ROOT.glob("backends/*/README.md"), *ROOT.glob("integrations/*/README.md")]
    return sorted([*DOCS.rglob("*.md"), *beside, *members])


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def matches(shown: str, printed: str) -> bool:
    """Return whether `printed` is the output that a page shows, `…` standing for any text."""
    pattern = ""
    for line in shown.splitlines():
        pattern += r"(?:.*\n)*?" if line.strip() == "…" else re.escape(line).replace("…", ".*") + r"\n"
    return re.fullmatch(pattern, printed if printed.endswith("\n") or not printed else printed + "\n") is not None
