"""The memo of the tier in memory: what leaves it, and that it takes the room that copies leave free."""

from __future__ import annotations

import threading
from typing import Any

from cachecore.memory.eviction.lru import LruPolicy
from cachecore.memory.memo import Memo
from cachecore.memory.tier import ENTRY_OVERHEAD_BYTES, MemoryTier


def found(memo: Memo, key: Any) -> Any:
    return memo.young.get(key) or memo.find_old(key)


def tier_of(max_bytes: int, max_entries: int = 1000) -> MemoryTier[str]:
    return MemoryTier(max_bytes=max_bytes, max_entries=max_entries, policy=LruPolicy)


def test_facts_found_again_outlive_those_that_are_not() -> None:
    memo, dropped = Memo(), list[Any]()
    for number in range(10):
        memo.put(number, (10, number))
    memo.shrink(90, dropped)
    assert dropped == [(10, 0)]
    assert found(memo, 1) == (10, 1)
    for number in range(10, 18):
        memo.shrink(90, dropped)
        memo.put(number, (10, number))
    memo.shrink(100, dropped)
    assert found(memo, 1) == (10, 1)
    assert [fact[1] for fact in dropped] == [0, 2, 3, 4, 5, 6, 7, 8]
    assert len(memo) == 10
    assert memo.bytes == 100


def test_a_replaced_fact_counts_once() -> None:
    memo = Memo()
    memo.put("a", (10, 1))
    memo.put("a", (30, 2))
    assert (memo.bytes, found(memo, "a")) == (30, (30, 2))
    memo.shrink(29, [])
    assert (memo.bytes, len(memo), found(memo, "a")) == (0, 0, None)


def test_copies_come_first_and_an_eighth_stays() -> None:
    """Facts fill the bytes that no copy needs, leave for copies, and keep an eighth of all."""
    size = ENTRY_OVERHEAD_BYTES + 1 + 100
    tier = tier_of(16 * size)
    for number in range(200):
        tier.remember(number, (100, number))
    assert 16 * size - 100 <= tier.bytes <= 16 * size
    for name in "abcdefghijklmn":
        tier.put(name, name, 100)
        assert tier.bytes <= 16 * size
    assert (len(tier), tier.evictions) == (14, 0)
    assert size < tier.memo.bytes <= 2 * size
    for name in "opqrst":
        tier.put(name, name, 100)
    assert len(tier) == 14
    assert size < tier.memo.bytes <= 2 * size
    assert found(tier.memo, 199) == (100, 199)


def test_a_copy_that_needs_all_bytes_gets_them() -> None:
    tier = tier_of(10_000)
    for number in range(100):
        tier.remember(number, (100, number))
    tier.put("a", "a", 10_000 - ENTRY_OVERHEAD_BYTES - 1)
    assert ("a" in tier, len(tier.memo), tier.bytes) == (True, 0, 10_000)


def test_a_tier_that_keeps_nothing_remembers_nothing() -> None:
    for tier in (tier_of(0), tier_of(10_000, max_entries=0)):
        tier.remember("a", (100, 1))
        assert (len(tier.memo), tier.bytes) == (0, 0)


def test_clear_forgets_facts() -> None:
    tier = tier_of(10_000)
    tier.remember("a", (100, 1))
    tier.clear()
    assert (len(tier.memo), tier.bytes) == (0, 0)


def test_threads_find_right_facts_while_others_leave() -> None:
    tier, wrong = tier_of(40_000), list[Any]()

    def work(start: int) -> None:
        for number in range(start, start + 4000):
            key = number % 700
            fact = found(tier.memo, key)
            if fact is None:
                tier.remember(key, (100, key))
            elif fact[1] != key:
                wrong.append((key, fact))

    threads = [threading.Thread(target=work, args=(number * 137,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert 0 < len(tier.memo) <= 400
    assert tier.bytes <= 40_000
