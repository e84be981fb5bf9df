"""The page on testing: its example runs as it is, and it lists every directive."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from cachecore_llm.testing.provider.directives import DEVIATIONS, TABLE

PAGE = Path(__file__).parents[3] / "docs" / "testing.md"


def test_the_example_runs(tmp_path: Path) -> None:
    code = PAGE.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    (tmp_path / "test_example.py").write_text(code, encoding="utf-8")
    options = ["-q", "-W", "error", "-p", "no:cacheprovider", "-o", "asyncio_default_fixture_loop_scope=function"]
    command = [sys.executable, "-m", "pytest", *options, "test_example.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def test_every_directive_is_listed() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    for name, (_, _, meaning) in TABLE.items():
        row = next(
            (line for line in lines if line.startswith((f"| `[[{name}]]", f"| `[[{name} ", f"| `[[{name}:"))), ""
        )
        assert meaning in row or name == "compat", f"docs/testing.md lacks [[{name}]]: {meaning}"
    for name, meaning in DEVIATIONS.items():
        assert f"| `{name}` | {meaning} |" in lines
