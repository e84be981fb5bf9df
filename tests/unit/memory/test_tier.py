"""The memory tier: bounds, bytes, expiry, threads."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from random import Random

import pytest

from cachecore.memory.eviction import PolicyFactory
from cachecore.memory.eviction.adaptive import AdaptivePolicy
from cachecore.memory.eviction.lfu import LfuPolicy
from cachecore.memory.eviction.lru import LruPolicy
from cachecore.memory.eviction.s3fifo import S3FifoPolicy
from cachecore.memory.eviction.tinylfu import TinyLfuPolicy
from cachecore.memory.tier import ENTRY_OVERHEAD_BYTES, MemoryTier
from cachecore.testing.clocks import FakeClock


def tier_of(max_entries: int, *, max_bytes: int = 1 << 30) -> MemoryTier[object]:
    return MemoryTier(max_bytes=max_bytes, max_entries=max_entries, policy=LruPolicy)


def test_what_was_put_is_there_until_discarded() -> None:
    tier = tier_of(10)
    assert tier.get("k") is None
    tier.put("k", "one", 3)
    assert tier.get("k") == "one"
    tier.put("k", "two", 3)
    assert tier.get("k") == "two"
    assert len(tier) == 1
    assert tier.discard("k")
    assert not tier.discard("k")
    assert tier.get("k") is None
    assert tier.bytes == 0


def test_bytes_are_value_key_and_overhead() -> None:
    tier = tier_of(10)
    tier.put("abc", b"", 1000)
    assert tier.bytes == 1000 + 3 + ENTRY_OVERHEAD_BYTES
    tier.put("abc", b"", 10)
    assert tier.bytes == 10 + 3 + ENTRY_OVERHEAD_BYTES


def test_the_least_recently_used_leave_first() -> None:
    """Reading and replacing both count as use; asking whether a key is there does not."""
    tier = tier_of(3)
    for key in "abc":
        tier.put(key, key, 1)
    tier.get("a")
    tier.put("b", "b", 1)
    assert "c" in tier
    tier.put("d", "d", 1)
    assert set(tier) == {"a", "b", "d"}
    assert tier.evictions == 1


def test_a_large_entry_makes_room_for_itself() -> None:
    """As many leave as its bytes need."""
    cost = 100 + 1 + ENTRY_OVERHEAD_BYTES
    tier = tier_of(1000, max_bytes=10 * cost)
    for key in "abcdefghij":
        tier.put(key, key, 100)
    assert (len(tier), tier.bytes) == (10, 10 * cost)
    tier.put("k", "k", 100 + 3 * cost)
    assert set(tier) == set("efghijk")
    assert tier.bytes == 10 * cost
    assert tier.evictions == 4


def test_what_is_larger_than_the_tier_is_not_kept_nor_what_it_replaces() -> None:
    """The old value must go: it is not the answer any more."""
    tier = tier_of(10, max_bytes=2000)
    tier.put("k", "old", 10)
    tier.put("other", "other", 10)
    tier.put("k", "huge", 2000)
    assert tier.get("k") is None
    assert set(tier) == {"other"}


@pytest.mark.parametrize(("max_bytes", "max_entries"), [(0, 10), (1000, 0), (0, 0)])
def test_a_tier_of_size_nothing_keeps_nothing(max_bytes: int, max_entries: int) -> None:
    tier = tier_of(max_entries, max_bytes=max_bytes)
    tier.put("k", "v", 1)
    assert tier.get("k") is None
    assert (len(tier), tier.bytes) == (0, 0)


def test_clear_leaves_nothing_and_the_tier_works_on() -> None:
    tier = tier_of(3)
    for key in "abc":
        tier.put(key, key, 1)
    tier.clear()
    assert (len(tier), tier.bytes, list(tier), tier.get("a")) == (0, 0, [], None)
    for key in "abcd":
        tier.put(key, key, 1)
    assert set(tier) == set("bcd")


@dataclass
class Dated:
    """A slot with a deadline."""

    deadline: float


def test_expired_slots_that_nobody_reads_leave_as_others_come() -> None:
    """Without any timer, within one round of puts, and the living stay."""
    clock = FakeClock()
    tier = MemoryTier[Dated](
        max_bytes=1 << 30,
        max_entries=10_000,
        policy=LruPolicy,
        deadline_of=lambda slot: slot.deadline,
        clock=clock,
    )
    for i in range(1000):
        tier.put(f"short{i}", Dated(clock.monotonic() + 5), 10)
        tier.put(f"long{i}", Dated(clock.monotonic() + 500), 10)
    clock.advance(5)
    for i in range(2500):
        tier.put(f"new{i}", Dated(clock.monotonic() + 500), 10)
    assert sum(key.startswith("short") for key in tier) == 0
    assert len(tier) == 3500
    assert tier.bytes == sum(10 + len(key) + ENTRY_OVERHEAD_BYTES for key in tier)
    assert tier.evictions == 0


def test_a_finaliser_may_use_the_tier() -> None:
    """An evicted value that uses the cache while it dies neither hangs nor breaks the accounts."""
    tier = tier_of(2)

    class Dying:
        def __del__(self) -> None:
            tier.put("epitaph", "x", 1)
            tier.discard("epitaph")

    for i in range(10):
        tier.put(str(i), Dying(), 1)
    tier.clear()
    assert (len(tier), tier.bytes) == (0, 0)


class Slow(LruPolicy):
    """LRU whose eviction gives other threads the interpreter, so that they run in its midst."""

    def evict(self) -> str:
        os.sched_yield()
        return super().evict()


@pytest.mark.parametrize("policy", [LruPolicy, Slow, S3FifoPolicy, TinyLfuPolicy, LfuPolicy, AdaptivePolicy])
def test_threads_leave_exact_accounts(policy: PolicyFactory) -> None:
    """Eight threads put, read and discard at once; nobody reads another key's slot, bounds and bytes hold."""
    tier = MemoryTier[tuple[str, int]](max_bytes=300_000, max_entries=100, policy=policy)
    faults: list[str] = []
    start = threading.Barrier(8)

    def work(seed: int) -> None:
        chance = Random(seed)
        start.wait()
        for _ in range(4000):
            key = f"k{chance.randrange(300)}"
            action = chance.random()
            if action < 0.6:
                slot = tier.get(key)
                if slot is not None and slot[0] != key:
                    faults.append(f"{key} gave {slot}")
            elif action < 0.95:
                size = chance.randrange(5000)
                tier.put(key, (key, size), size)
            elif action < 0.999:
                tier.discard(key)
            else:
                tier.clear()

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    slots = {key: tier.get(key) for key in tier}
    assert tier.bytes == sum(slot[1] + len(key) + ENTRY_OVERHEAD_BYTES for key, slot in slots.items() if slot)
    assert tier.bytes <= 300_000
    assert len(tier) == len(tier._policy) <= 100
