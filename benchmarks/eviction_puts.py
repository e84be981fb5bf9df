"""The cost of each eviction policy: a put of a new copy into a full tier, which evicts one, and a hit.

    python -m benchmarks eviction_puts

Peers keep as many entries, without bytes, deadlines or a memo; cachetools has the lock that its documentation asks for.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, Final

import cachebox
import cachetools

from benchmarks.running.results import Question, Table, of_samples
from benchmarks.running.rounds import Turn, interleaved
from cachecore.memory.eviction import PolicyFactory
from cachecore.memory.eviction.adaptive import AdaptivePolicy
from cachecore.memory.eviction.lfu import LfuPolicy
from cachecore.memory.eviction.lru import LruPolicy
from cachecore.memory.eviction.s3fifo import S3FifoPolicy
from cachecore.memory.eviction.tinylfu import TinyLfuPolicy
from cachecore.memory.tier import MemoryTier

ENTRIES: Final = 10_000
PUTS: Final = 1000
READS: Final = 5000
POLICIES: Final[dict[str, PolicyFactory]] = {
    "adaptive": AdaptivePolicy,
    "lru": LruPolicy,
    "s3fifo": S3FifoPolicy,
    "tinylfu": TinyLfuPolicy,
    "lfu": LfuPolicy,
}
BASE: Final = "cachetools LRU, locked"

Put = Callable[[str], object]
Get = Callable[[str], object]


def new_keys(chance: Random, count: int) -> list[str]:
    return [f"cachecore:e:faq:{chance.getrandbits(128):032x}" for _ in range(count)]


def tier(policy: PolicyFactory) -> tuple[Put, Get]:
    made: MemoryTier[bytes] = MemoryTier(max_bytes=1 << 50, max_entries=ENTRIES, policy=policy)
    return lambda key: made.put(key, b"value", 5), made.get


def locked() -> tuple[Put, Get]:
    made: Any = cachetools.LRUCache(ENTRIES)
    lock = threading.Lock()

    def put(key: str) -> None:
        with lock:
            made[key] = b"value"

    def get(key: str) -> object:
        with lock:
            return made.get(key)

    return put, get


def contenders() -> dict[str, tuple[Put, Get]]:
    rust: Any = cachebox.LRUCache(ENTRIES)  # it locks itself
    return {
        **{f"cachecore {name}": tier(policy) for name, policy in POLICIES.items()},
        BASE: locked(),
        "cachebox LRU": (lambda key: rust.insert(key, b"value"), rust.get),
    }


async def puts() -> Table:
    turns: dict[str, Turn] = {}
    prepare: dict[str, Callable[[], Awaitable[object]]] = {}
    for name, (put, _) in contenders().items():
        chance = Random(2)
        keys: list[str] = []
        for key in new_keys(chance, 3 * ENTRIES):  # full, and past the cost of filling
            put(key)

        async def draw(keys: list[str] = keys, chance: Random = chance) -> None:
            keys[:] = new_keys(chance, PUTS)

        async def turn(keys: list[str] = keys, put: Put = put) -> int:
            for key in keys:
                put(key)
            return len(keys)

        turns[name], prepare[name] = turn, draw
    samples = await interleaved(turns, seconds=12, before=prepare)
    return of_samples(f"a new copy put among {ENTRIES:,}, which evicts one", samples, BASE)


async def hits() -> Table:
    chance = Random(1)
    keys = new_keys(chance, ENTRIES)
    asked = chance.choices(keys, k=READS)
    plain = dict.fromkeys(keys, b"value")
    readers: dict[str, Get] = {"a plain dict": plain.get}
    for name, (put, get) in contenders().items():
        for key in keys:
            put(key)
        readers[name] = get

    def reading(get: Get) -> Turn:
        async def turn() -> int:
            for key in asked:
                get(key)
            return len(asked)

        return turn

    samples = await interleaved({name: reading(get) for name, get in readers.items()}, seconds=8)
    return of_samples(f"a hit among {ENTRIES:,}", samples, "a plain dict")


async def measure() -> list[Table]:
    return [await puts(), await hits()]


QUESTION = Question("eviction_puts", "The cost of each eviction policy", measure, ["cachetools", "cachebox"])

if __name__ == "__main__":
    sys.exit(QUESTION.main())
