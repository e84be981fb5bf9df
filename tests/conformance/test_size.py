"""The small backends stay small: at most 350 lines of code each, without docstrings, comments and blank lines."""

from __future__ import annotations

import ast
import io
import tokenize
from pathlib import Path

import pytest

BACKENDS = Path(__file__).resolve().parents[2] / "backends"
MOST_LINES = 350
_NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def code_lines(source: str) -> int:
    """Return the number of lines of `source` that hold code; a string that stands alone is documentation."""
    documented = set[int]()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            documented.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    code = set[int]()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _NO_CODE:
            code.update(range(token.start[0], token.end[0] + 1))
    blank = {number for number, line in enumerate(source.splitlines(), 1) if not line.strip()}
    return len(code - documented - blank)


def test_lines_are_counted() -> None:
    assert code_lines('"""Doc."""\n\nx = 1  # why\n# no code\ny = """a\n\nb"""\n"""Doc of y,\nlong."""\n') == 3


@pytest.mark.parametrize("name", ["postgres", "objects", "keyvalue"])
def test_a_small_backend_stays_small(name: str) -> None:
    files = sorted((BACKENDS / name / f"cachecore_{name}").rglob("*.py"))
    assert files
    assert sum(code_lines(file.read_text()) for file in files) <= MOST_LINES
