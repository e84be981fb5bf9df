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


def test_the_synchronous_face_has_the_same_names() -> None:
    def members(one: type) -> set[str]:
        return {member for member in dir(one) if not member.startswith("_")}

    ends = {"close", "aclose"}
    of_loops_alone = {"sweep_tag", "hand_over"}  # a plain function cannot answer before it returns
    assert members(cachecore.SyncCache) ^ members(cachecore.Cache) == ends | of_loops_alone
    assert members(cachecore.SyncClaim) == members(cachecore.Claim)
