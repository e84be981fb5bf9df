"""What a hit and a put of the memory tier cost, beside other caches in memory and a bare dict.

    python -m benchmarks.memory_tier     # prints a table, writes benchmarks/results/memory_tier.json

All contenders are timed in turn, round after round, so that a busy machine slows all of them alike. Figures are medians
in ns, what the loop around the calls takes included; ratios are medians of those within a round.
"""

from __future__ import annotations

import json
import platform
import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import cachebox
import cachetools

from cachecore.memory.eviction import PolicyFactory
from cachecore.memory.eviction.adaptive import AdaptivePolicy
from cachecore.memory.eviction.lru import LruPolicy
from cachecore.memory.eviction.s3fifo import S3FifoPolicy
from cachecore.memory.eviction.tinylfu import TinyLfuPolicy
from cachecore.memory.tier import MemoryTier

RESULTS = Path(__file__).parent / "results" / "memory_tier.json"
ROUNDS = 21
CALLS = 5000
GROWTH = (1_000, 10_000, 100_000, 1_000_000)
POLICIES: dict[str, PolicyFactory] = {
    "adaptive": AdaptivePolicy,
    "lru": LruPolicy,
    "s3fifo": S3FifoPolicy,
    "tinylfu": TinyLfuPolicy,
}

Read = Callable[[str], object]
Measured = dict[str, dict[str, float]]


def new_keys(chance: Random, count: int) -> list[str]:
    return [f"cachecore:e:faq:{chance.getrandbits(128):032x}" for _ in range(count)]


def tier_of(policy: PolicyFactory, entries: int) -> MemoryTier[bytes]:
    return MemoryTier(max_bytes=1 << 50, max_entries=entries, policy=policy)


def cachebox_lru(entries: int) -> Any:
    """Return the LRU cache in Rust; it locks itself."""
    return cachebox.LRUCache(entries)


class Locked:
    """cachetools' LRU as its documentation says to share it between threads."""

    def __init__(self, entries: int) -> None:
        self._cache: cachetools.LRUCache[str, bytes] = cachetools.LRUCache(entries)
        self._lock = threading.Lock()

    def get(self, key: str) -> bytes | None:
        with self._lock:
            return self._cache.get(key)

    def put(self, key: str, value: bytes) -> None:
        with self._lock:
            self._cache[key] = value


def measure(turns: dict[str, Callable[[int], float]], against: str) -> Measured:
    """Return the median ns and the ratio to `against` of each contender."""
    rounds = [{name: turn(number) for name, turn in turns.items()} for number in range(ROUNDS)]
    return {
        name: {
            "ns": round(statistics.median(row[name] for row in rounds), 1),
            "ratio": round(statistics.median(row[name] / row[against] for row in rounds), 3),
        }
        for name in turns
    }


def _reading(read: Read, asked: Sequence[str]) -> Callable[[int], float]:
    def turn(number: int) -> float:
        start = time.perf_counter_ns()
        for key in asked:
            read(key)
        return (time.perf_counter_ns() - start) / len(asked)

    return turn


def _putting(put: Callable[[str], object], entries: int) -> Callable[[int], float]:
    chance = Random(2)
    for key in new_keys(chance, 3 * entries):  # full, and past what filling costs
        put(key)
    batches = [new_keys(chance, 1000) for _ in range(ROUNDS)]

    def turn(number: int) -> float:
        start = time.perf_counter_ns()
        for key in batches[number]:
            put(key)
        return (time.perf_counter_ns() - start) / 1000

    return turn


def hits(entries: int, *, rivals: bool) -> Measured:
    """Time reads of keys that are there, in random order."""
    chance = Random(1)
    keys = new_keys(chance, entries)
    asked = chance.choices(keys, k=CALLS)
    plain = dict.fromkeys(keys, b"value")
    readers: dict[str, Read] = {"dict": plain.get}
    for name in POLICIES if rivals else ("adaptive", "lru"):
        tier = tier_of(POLICIES[name], entries)
        for key in keys:
            tier.put(key, b"value", 5)
        readers[name] = tier.get
    if rivals:
        locked, rust = Locked(entries), cachebox_lru(entries)
        for key in keys:
            locked.put(key, b"value")
            rust[key] = b"value"
        readers |= {"cachetools LRU, locked": locked.get, "cachebox LRU": rust.get}
    return measure({name: _reading(read, asked) for name, read in readers.items()}, "dict")


def puts(entries: int) -> Measured:
    """Time puts of new keys into a full cache, which evict one each."""
    turns: dict[str, Callable[[int], float]] = {}
    for name, policy in POLICIES.items():
        turns[name] = _putting(partial(_put, tier_of(policy, entries)), entries)
    locked, rust = Locked(entries), cachebox_lru(entries)
    turns["cachetools LRU, locked"] = _putting(lambda key: locked.put(key, b"value"), entries)
    turns["cachebox LRU"] = _putting(lambda key: rust.insert(key, b"value"), entries)
    return measure(turns, "cachetools LRU, locked")


def _put(tier: MemoryTier[bytes], key: str) -> None:
    tier.put(key, b"value", 5)


def _show(title: str, measured: Measured) -> None:
    print(title)
    for name, figures in measured.items():
        print(f"  {name:<24}{figures['ns']:>9.0f} ns {figures['ratio']:>7.2f} x")


def main() -> int:
    """Measure everything; fail if a hit slows down more than twice as much as a dict's as the tier grows."""
    hit, put = hits(10_000, rivals=True), puts(10_000)
    _show("a hit among 10,000 entries, against a dict", hit)
    _show("a put that evicts, 10,000 entries, against cachetools", put)
    growth = {entries: hits(entries, rivals=False) for entries in GROWTH}
    first, last = growth[GROWTH[0]], growth[GROWTH[-1]]
    slower = {name: round(last[name]["ns"] / first[name]["ns"], 2) for name in first}
    print(f"a hit among {GROWTH[-1]:,} entries instead of {GROWTH[0]:,}:", slower)
    results = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "unit": "ns",
        "hit": hit,
        "put": put,
        "hit_by_entries": growth,
        "growth": slower,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    return 0 if max(slower.values()) <= 2 * slower["dict"] else 1


if __name__ == "__main__":
    sys.exit(main())
