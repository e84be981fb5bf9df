"""The examples of docs/frameworks.md, each in a process of its own: they print what their comments say."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.frameworks import __main__ as hits_of_frameworks
from tests.frameworks.test_isolation import FRAMEWORKS, ROOT, installed

PAGE = (ROOT / "docs/frameworks.md").read_text()
EXAMPLES = dict(re.findall(r"^## (\w+)\n.*?^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_prints_what_it_says(name: str, tmp_path: Path) -> None:
    if not installed(FRAMEWORKS[name]):
        pytest.skip(f"{FRAMEWORKS[name]} is not installed: make frameworks")
    if name == "litellm":
        pytest.importorskip("soundfile", reason="LiteLLM imports soundfile at a hit, it is missing: make frameworks")
    said = re.findall(r"print\(.*\)  # (.*)", EXAMPLES[name])
    assert said, "an example shows what it prints"
    program = tmp_path / "example.py"
    program.write_text(EXAMPLES[name])
    local = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True"}
    done = subprocess.run(
        [sys.executable, program],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, **local},
    )
    assert done.returncode == 0, done.stderr
    assert ", ".join(done.stdout.splitlines()) == ", ".join(said)


def test_every_framework_of_the_table_has_the_cost_of_a_hit() -> None:
    """The page shows the figures that `make hits` wrote, and no others."""
    hits = json.loads(hits_of_frameworks.RESULTS.read_text())["hits"]
    listed = re.search(r"^\| framework \|.*?\n\n", PAGE, re.MULTILINE | re.DOTALL)
    assert listed is not None
    cells = [line.split("|")[1].strip() for line in listed[0].strip().splitlines()[2:]]
    names = {re.sub(r" [\d.]+$", "", name) for cell in cells for name in cell.split(", ")}
    assert names == hits.keys()
    assert hits_of_frameworks.table(hits) in PAGE
