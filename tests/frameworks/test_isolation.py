"""What holds for all adapters: importing one imports neither another nor a framework that is not its own."""

from __future__ import annotations

import importlib.util
import pkgutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import cachecore_frameworks

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(module.name for module in pkgutil.iter_modules(cachecore_frameworks.__path__) if module.name[0] != "_")
FRAMEWORKS = {
    "django": "django",
    "dspy": "dspy",
    "fastapi": "fastapi",
    "flask_caching": "flask_caching",
    "google_adk": "google.adk",
    "instructor": "instructor",
    "keyvalue": "key_value.aio",
    "langchain": "langchain_core",
    "langgraph": "langgraph",
    "litellm": "litellm",
    "llamaindex": "llama_index.core",
    "pydantic_ai": "pydantic_ai",
}
"""The package that each adapter needs."""
IMPORTED_BY = {"langgraph": ["langchain_core"]}
"""Frameworks that another framework imports by itself."""


def installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # the parent of a namespace package
        return False


@pytest.mark.parametrize("module", MODULES)
def test_an_adapter_has_an_extra_and_a_row_in_the_docs(module: str) -> None:
    table = tomllib.loads((ROOT / "integrations/frameworks/pyproject.toml").read_text())
    assert module.replace("_", "-") in table["project"]["optional-dependencies"]
    assert f"| `{module}` |" in (ROOT / "docs/frameworks.md").read_text()


@pytest.mark.parametrize("module", MODULES)
def test_importing_an_adapter_imports_no_other(module: str) -> None:
    if not installed(FRAMEWORKS[module]):
        pytest.skip(f"{FRAMEWORKS[module]} is not installed: make frameworks")
    program = f"import sys, cachecore_frameworks.{module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    names = {name.split(".")[1] for name in done.stdout.split() if name.startswith("cachecore_frameworks.")}
    assert {name for name in names if name[0] != "_"} == {module}
    loaded = {package for package in FRAMEWORKS.values() if package in done.stdout.split()}
    assert loaded <= {FRAMEWORKS[module], *IMPORTED_BY.get(module, ())}
