"""The page of options has every option with its default and its meaning, and no other."""

from __future__ import annotations

from dataclasses import fields

import pytest

from cachecore.api.option_types import BuildOptions
from cachecore.contract.options import MemoryOptions, Policy, StoreOptions
from cachecore_llm import CacheConfig
from tests.docs.option_tables import PAGE, TABLES, arguments, table


@pytest.mark.parametrize("heading", TABLES)
def test_a_table_says_what_the_code_says(heading: str) -> None:
    section = PAGE.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    assert table(TABLES[heading]) in section, "run `python -m tests.docs.option_tables`"


def test_no_option_is_missing_and_none_is_made_up() -> None:
    page = PAGE.read_text(encoding="utf-8")
    listed = [line.split("`")[1] for line in page.splitlines() if line.startswith("| `")]
    parts = {name for name, _, _ in arguments(TABLES["Names and parts"])}
    assert parts | {field.name for of in (Policy, StoreOptions, MemoryOptions) for field in fields(of)} == {
        *BuildOptions.__annotations__,
        *("backend", "ttl", "value_type"),
    }
    config = [field.name for field in fields(CacheConfig) if field.init]
    others = [field.name for of in (Policy, StoreOptions, MemoryOptions) for field in fields(of)]
    assert sorted(listed) == sorted([*parts, *others, *config])
