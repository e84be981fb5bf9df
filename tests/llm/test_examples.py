"""The examples run as they are, in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name: str, folder: Path) -> str:
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder), "PYTHONWARNINGS": "error", "COLUMNS": "100"}
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name)],
        capture_output=True,
        text=True,
        timeout=600,
        env=environment,
        cwd=folder,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_plain_cache(tmp_path: Path) -> None:
    assert run("plain_cache.py", tmp_path).split() == ["144", "computed", "144", "hit", "144", "hit"]


def test_llm_service(tmp_path: Path) -> None:
    lines = run("llm_service.py", tmp_path).splitlines()
    assert [line.split()[:2] for line in lines[:2]] == [["miss", "second"], ["hit", "second"]]
    assert lines[2] == "hit rate 50%"


@pytest.mark.parametrize("name", ["banking77.csv", "ATTRIBUTION.md"])
def test_questions_are_attributed(name: str) -> None:
    """Attribution is a condition of the data's licence."""
    assert (EXAMPLES / "questions" / name).is_file()
    assert "PolyAI" in (EXAMPLES / "questions" / "ATTRIBUTION.md").read_text()
