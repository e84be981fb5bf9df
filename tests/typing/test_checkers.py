"""mypy and pyright in strict mode: what applications write passes, and each mistake is found."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cachecore.api.option_types import BuildOptions, CacheOptions, PolicyOptions
from cachecore.contract.options import MEMORY_FIELDS, POLICY_FIELDS, STORE_FIELDS

HERE = Path(__file__).parent
PROGRAMS, MISTAKES = HERE / "programs.py", HERE / "mistakes.py"


def mypy(tmp_path: Path) -> set[tuple[str, int]]:
    """Return the files and lines that mypy finds wrong."""
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path), "--output", "json"]
    ran = subprocess.run([*command, PROGRAMS, MISTAKES], capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode in (0, 1), ran.stderr
    found = map(json.loads, ran.stdout.splitlines())
    return {(Path(one["file"]).name, one["line"]) for one in found if one["severity"] == "error"}


def pyright(tmp_path: Path) -> set[tuple[str, int]]:
    """Return the files and lines that pyright finds wrong."""
    settings = tmp_path / "pyrightconfig.json"
    settings.write_text(json.dumps({"typeCheckingMode": "strict", "include": [str(PROGRAMS), str(MISTAKES)]}))
    command = [sys.executable, "-m", "basedpyright", "--outputjson", "--pythonpath", sys.executable]
    ran = subprocess.run([*command, "-p", settings], capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode in (0, 1), ran.stderr
    found = json.loads(ran.stdout)["generalDiagnostics"]
    return {(Path(one["file"]).name, one["range"]["start"]["line"] + 1) for one in found if one["severity"] == "error"}


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_programs_pass_and_mistakes_are_found(checker: object, tmp_path: Path) -> None:
    marked = {
        (MISTAKES.name, number)
        for number, line in enumerate(MISTAKES.read_text().splitlines(), 1)
        if line.endswith("# wrong")
    }
    assert callable(checker)
    assert len(marked) >= 20
    assert checker(tmp_path) == marked


def test_checkers_know_every_option_and_no_other() -> None:
    assert PolicyOptions.__optional_keys__ == POLICY_FIELDS - {"ttl"}
    assert CacheOptions.__optional_keys__ == (POLICY_FIELDS | STORE_FIELDS | MEMORY_FIELDS) - {"ttl"}
    given = {
        "namespace",
        "prefix",
        "hasher",
        "serializer",
        "tags",
        "admit",
        "rescue_if",
        "name",
        "clock",
        "chance",
        "token",
        "meter",
    }
    assert BuildOptions.__optional_keys__ == CacheOptions.__optional_keys__ | given
