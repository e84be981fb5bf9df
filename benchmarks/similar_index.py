"""How long the event loop waits while the index of similar questions is filled, built and searched, and what it takes.

    python -m benchmarks similar_index

The longest time between two turns of a loop that does nothing else, with a search of a cold index and of a warm one,
beside the same loop at rest. Each figure is the best of several runs: on a busy machine the others measure the machine.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
import tracemalloc
from collections.abc import Awaitable
from typing import Any

from benchmarks.running.results import Question, Table
from benchmarks.running.rounds import scale
from cachecore_llm.similar.index import GramIndex

SIZES = {"10,000 of 60 characters": (10_000, 60), "2,000 of 1,500 characters": (2_000, 1_500)}
ROUNDS = 5
_SYLLABLES = [a + b for a in "bcdfghjklmnprst" for b in "aeiou"]


def questions(count: int, size: int) -> list[str]:
    """Return texts of about `size` characters, of words that repeat as those of customers do."""
    chance = random.Random(3)
    words = ["".join(chance.choices(_SYLLABLES, k=chance.choice((1, 2, 3)))) for _ in range(2_000)]
    weights = [1 / (rank + 1) for rank in range(len(words))]
    return [" ".join(chance.choices(words, weights, k=max(1, size // 5)))[:size] for _ in range(count)]


async def _longest_wait(work: Awaitable[Any]) -> tuple[float, float]:
    """Return how long the loop waited at most while `work` ran, and how long that took, in milliseconds."""
    running = asyncio.ensure_future(work)
    began = last = time.perf_counter()
    longest = 0.0
    while not running.done():
        await asyncio.sleep(0)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    await running
    return longest * 1e3, (time.perf_counter() - began) * 1e3


async def _measured(count: int, size: int) -> dict[str, float]:
    known = questions(count, size)
    at_rest, _ = min([await _longest_wait(asyncio.sleep(0.3)) for _ in range(ROUNDS)])
    adds, colds, warms = [], [], []
    index = GramIndex()
    for _ in range(max(2, round(ROUNDS * scale()))):
        index = GramIndex()
        began = time.perf_counter()
        for question in known:
            index.add("p", question)
        adds.append((time.perf_counter() - began) / count * 1e6)
        colds.append(await _longest_wait(index.search("p", known[1] + " xu")))
        warms += [await _longest_wait(index.search("p", one + " xu")) for one in known[:10]]
    (cold_wait, cold), (warm_wait, warm) = min(colds), sorted(warms)[len(warms) // 4]
    tracemalloc.start()
    traced = GramIndex()
    for question in known:
        traced.add("p", question)
    await traced.search("p", known[1])  # slower than above
    built = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return {
        "the loop waits, ms": round(max(cold_wait, warm_wait), 1),
        "at rest, ms": round(at_rest, 1),
        "first search, ms": round(cold, 1),
        "later searches, ms": round(warm, 1),
        "an addition, µs": round(min(adds), 2),
        "MiB, counted": round(index.size_bytes / 2**20, 1),
        "MiB, traced": round(built / 2**20, 1),
    }


async def measure() -> list[Table]:
    return [
        Table(
            "the index of similar questions",
            "the loop waits, ms",
            {name: await _measured(*size) for name, size in SIZES.items()},
        )
    ]


QUESTION = Question("similar_index", "The cost of the index of similar questions", measure)

if __name__ == "__main__":
    sys.exit(QUESTION.main())
