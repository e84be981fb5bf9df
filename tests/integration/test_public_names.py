"""The public names are those of docs/reference.md: none by accident, none missing."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

import cachecore

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference.md"
SECTIONS = dict(re.findall(r"^## `([\w.]+)`\n\n(.*?)\n\n", REFERENCE.read_text(), re.MULTILINE | re.DOTALL))
MODULES = [
    "cachecore",
    "cachecore.contract",
    "cachecore.keys",
    "cachecore.serializers",
    "cachecore.testing",
    "cachecore_llm",
    "cachecore_llm.sdk",
    "cachecore_llm.similar",
    "cachecore_llm.testing.provider",
    "cachecore_postgres",
    "cachecore_objects",
    "cachecore_keyvalue",
    "cachecore_redis",
    "cachecore_sqlite",
]
FURTHER = re.findall(r"^- `([\w.]+\.\w+)`: ", REFERENCE.read_text(), re.MULTILINE)
"""Public names outside the `__all__` of a listed package."""
CLASSES = ["Cache", "Claim", "Computed", "Lookup"]


def listed(section: str) -> set[str]:
    return set(re.findall(r"^- `(\w+)`", SECTIONS[section], re.MULTILINE))


def test_every_section_is_of_something_public() -> None:
    assert SECTIONS.keys() == {*MODULES, *(f"cachecore.{name}" for name in CLASSES)}


def test_every_name_says_what_it_is() -> None:
    names = re.findall(r"^- (`\w+`.*)", REFERENCE.read_text(), re.MULTILINE)
    assert len(names) > 200
    assert not [name for name in names if not re.match(r"`\w+`: \S+ \S+", name)]


@pytest.mark.parametrize("module", MODULES)
def test_a_package_exports_what_the_reference_lists(module: str) -> None:
    package = importlib.import_module(module)
    assert listed(module) == set(package.__all__)
    for name in package.__all__:
        assert getattr(package, name) is not None


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_has_what_the_reference_lists(name: str) -> None:
    found = {member for member in dir(getattr(cachecore, name)) if not member.startswith("_")}
    assert listed(f"cachecore.{name}") == found


@pytest.mark.parametrize("name", FURTHER)
def test_a_further_name_is_there(name: str) -> None:
    module, _, last = name.rpartition(".")
    assert getattr(importlib.import_module(module), last) is not None


def test_names_that_a_page_imports_are_public() -> None:
    """A reader may copy any example, so its imports are names that stay."""
    listed_names = {f"{module}.{name}" for module in MODULES for name in listed(module)} | {*FURTHER, *MODULES}
    for page in REFERENCE.parent.rglob("*.md"):
        found = re.findall(r"^\s*from (cachecore[\w.]*) import ([\w, ]+)", page.read_text(), re.MULTILINE)
        for module, names in found:
            if module.startswith(("cachecore_frameworks", "cachecore.testing.")):
                continue  # an adapter is a module of its own; the page on simulation is for this project's developers
            for name in names.replace(" ", "").split(","):
                assert f"{module}.{name}" in listed_names, f"{page.name}: from {module} import {name}"


def test_the_synchronous_face_has_the_same_names() -> None:
    def members(one: type) -> set[str]:
        return {member for member in dir(one) if not member.startswith("_")}

    ends = {"close", "aclose"}
    of_loops_alone = {"sweep_tag", "hand_over"}  # a plain function cannot answer before it returns
    assert members(cachecore.SyncCache) ^ members(cachecore.Cache) == ends | of_loops_alone
    assert members(cachecore.SyncClaim) == members(cachecore.Claim)
