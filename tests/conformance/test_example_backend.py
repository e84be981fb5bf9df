"""The distribution of examples/backend, installed as a stranger's package, keeps the contract and has its URL."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "backend"
USE = """
import cachecore_folder
from cachecore import SyncCache
for number in (1, 2):
    with SyncCache("folder://answers", ttl=60, backend_timeout=20) as cache:
        print(cache.get_or_set("q", lambda: number), cache.invalidate_tags("other"))
print(cachecore_folder.__file__)
try:
    SyncCache("folder://answers?size=1", ttl=60)
except Exception as error:
    print(type(error).__name__)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a copy of the tests, and the built package in `site`."""
    here = tmp_path_factory.mktemp("stranger")
    source = shutil.copytree(EXAMPLE, here / "source", ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
    command += ["--no-index", "--no-build-isolation", "--target", str(here / "site"), str(source)]
    installed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert installed.returncode == 0, installed.stderr
    shutil.copy(EXAMPLE / "test_contract.py", here)
    (here / "pytest.ini").write_text(
        "[pytest]\nasyncio_default_fixture_loop_scope = function\nfilterwarnings = error\n"
    )
    return here


def run(folder: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(folder / "site")}
    command = [sys.executable, *arguments]
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_it_keeps_the_contract(folder: Path) -> None:
    said = run(folder, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "test_contract.py")
    assert "passed" in said
    assert "failed" not in said


def test_it_is_found_by_its_url(folder: Path) -> None:
    first, second, where, error = run(folder, "-c", USE).splitlines()
    assert (first, second, error) == ("1 None", "1 None", "OptionsError")
    assert where.startswith(str(folder / "site"))
