"""The applications of examples/migrate: a port does as its original does, and few of the caching lines change."""

from __future__ import annotations

import ast
import difflib
import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "migrate"
PORTS = [("catalogue", "cashews"), ("forecast", "aiocache")]


def code_lines(path: Path) -> list[str]:
    """The lines of code of a file, without its docstring."""
    text = path.read_text()
    docstring = ast.parse(text).body[0].end_lineno
    assert docstring is not None
    return [line for line in text.splitlines()[docstring:] if line.strip()]


def caching_lines(path: Path, library: str) -> list[str]:
    """The lines of a file that say the cache: those of every simple statement, decorator or head of a compound one in
    which a name of the caching library occurs, imported from it or assigned from such a name."""
    tree, text = ast.parse(path.read_text()), path.read_text().splitlines()
    names = {library}
    numbers = set[int]()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == library:
            names |= {alias.asname or alias.name for alias in node.names}
            numbers |= set(range(node.lineno, (node.end_lineno or 0) + 1))
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and _says(statement.value, names):
            names |= {target.id for target in statement.targets if isinstance(target, ast.Name)}
    for node in ast.walk(tree):
        parts: list[ast.AST] = []
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            parts = list(node.decorator_list)
        elif isinstance(node, ast.If | ast.While):
            parts = [node.test]
        elif isinstance(node, ast.stmt) and not hasattr(node, "body"):
            parts = [node]
        for part in parts:
            if _says(part, names):
                numbers |= set(range(part.lineno, part.end_lineno + 1))  # type: ignore[attr-defined]  # all have lines
    return [text[number - 1] for number in sorted(numbers)]


def _says(part: ast.AST, names: set[str]) -> bool:
    return any(isinstance(one, ast.Name) and one.id in names for one in ast.walk(part))


def changed_lines(before: list[str], after: list[str]) -> int:
    """How many lines of code differ, whatever they say; of a passage that grows or shrinks, the longer side."""
    steps = difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    return sum(max(b - a, d - c) for kind, a, b, c, d in steps if kind != "equal")


@pytest.mark.parametrize(("name", "library"), PORTS)
def test_at_most_a_third_of_the_caching_lines_change(name: str, library: str) -> None:
    original, port = FOLDER / f"{name}_{library}.py", FOLDER / f"{name}_cachecore.py"
    caching = len(caching_lines(original, library))
    changed = changed_lines(code_lines(original), code_lines(port))
    assert 0 < changed <= caching / 3
    said = re.search(rf"`{original.name}`.*\| (\d+) \| (\d+) \|", (FOLDER / "README.md").read_text())
    assert said is not None
    assert [int(one) for one in said.groups()] == [caching, changed]


def test_the_count_sees_what_changes(tmp_path: Path) -> None:
    """A decorator, a call and an import count; a line that is added counts, wherever it stands."""
    program = tmp_path / "program.py"
    program.write_text(
        '"""A program."""\nfrom lib import cache\nstore = cache.setup()\n\n@cache(\n    ttl=1,\n)\ndef one():\n'
        "    return 1\n\ndef two():\n    if store.get(1):\n        return 2\n    return store\n"
    )
    assert len(caching_lines(program, "lib")) == 7
    assert changed_lines(["a", "b", "c"], ["a", "x", "y", "c", "d"]) == 3


@pytest.mark.parametrize(("name", "library"), PORTS)
def test_the_port_does_what_the_original_does(name: str, library: str, redis_url: str) -> None:
    pytest.importorskip(library)
    shown = [_shown(FOLDER / f"{name}_{which}.py", redis_url) for which in (library, "cachecore")]
    assert shown[0] == shown[1]
    assert len(shown[1].splitlines()) >= 6


def _shown(program: Path, url: str) -> str:
    done = subprocess.run(
        [sys.executable, str(program), url], capture_output=True, text=True, timeout=60, check=False, cwd=FOLDER
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
