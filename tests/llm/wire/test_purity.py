"""The wire imports nothing but itself, msgspec and parts of the standard library that do no I/O."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cachecore_llm.wire

FOLDER = Path(cachecore_llm.wire.__file__).parent
ALLOWED = {
    *("__future__", "collections", "dataclasses", "itertools", "json", "operator", "typing", "zlib"),
    "msgspec",
    "cachecore_llm.wire",
}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_nothing_else_is_imported() -> None:
    files = sorted(FOLDER.rglob("*.py"))
    assert len(files) > 15
    found = {name for file in files for name in imports(file)}
    assert {name for name in found if not any(name == ok or name.startswith(f"{ok}.") for ok in ALLOWED)} == set()


def test_no_sdk_is_loaded() -> None:
    program = (
        "import sys, cachecore_llm.wire; print(sorted({'openai', 'anthropic', 'httpx', 'httpx2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.strip() == "[]"
