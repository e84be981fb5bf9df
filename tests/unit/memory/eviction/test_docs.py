"""The policy that the documentation shows how to write works as it is printed there."""

from __future__ import annotations

import re
from pathlib import Path

from cachecore.memory.tier import ENTRY_OVERHEAD_BYTES, MemoryTier

PAGE = Path(__file__).resolve().parents[4] / "docs" / "eviction.md"


def test_the_example_is_a_policy() -> None:
    code = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(code) == 1
    made: dict[str, type] = {}
    exec(code[0], made)  # the project's own page
    tier: MemoryTier[str] = MemoryTier(max_bytes=1 << 20, max_entries=2, policy=made["FifoPolicy"])
    for key in "ab":
        tier.put(key, key, 1)
    tier.get("a")
    tier.put("c", "c", 1)
    assert set(tier) == {"b", "c"}


def test_the_overhead_is_the_one_documented() -> None:
    assert f"with {ENTRY_OVERHEAD_BYTES} bytes beside" in PAGE.read_text()
