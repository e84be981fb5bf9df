"""How long the event loop waits while the index of similar questions is filled, built and searched, and what it takes.

    python -m benchmarks.similar_index      # prints a table, writes benchmarks/results/similar_index.json

The longest time between two turns of a loop that does nothing else, with a search of a cold index and of a warm one,
beside the same loop at rest. Each figure is the best of several runs: on a busy machine the others measure the machine.
"""

from __future__ import annotations

import asyncio
import json
import platform
import random
import time
import tracemalloc
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from cachecore_llm.similar.index import GramIndex

RESULTS = Path(__file__).parent / "results" / "similar_index.json"
SIZES = {"10,000 of 60 characters": (10_000, 60), "2,000 of 1,500 characters": (2_000, 1_500)}
ROUNDS = 5
MOST = 20.0
"""Milliseconds that the loop may wait: what is promised."""
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
    figures: dict[str, float] = {}
    figures["at_rest_ms"], _ = min([await _longest_wait(asyncio.sleep(0.3)) for _ in range(ROUNDS)])
    colds, warms = [], []
    index = GramIndex()
    for _ in range(ROUNDS):
        index = GramIndex()
        began = time.perf_counter()
        for question in known:
            index.add("p", question)
        figures["add_us"] = (time.perf_counter() - began) / count * 1e6
        colds.append(await _longest_wait(index.search("p", known[1] + " xu")))
        warms += [await _longest_wait(index.search("p", one + " xu")) for one in known[:10]]
    figures["cold_wait_ms"], figures["cold_search_ms"] = min(colds)
    figures["warm_wait_ms"], figures["warm_search_ms"] = sorted(warms)[len(warms) // 4]
    figures["says_mib"] = index.size_bytes / 2**20
    tracemalloc.start()
    index = GramIndex()
    for question in known:
        index.add("p", question)
    await index.search("p", known[1])  # traced, so slower than above
    figures["built_mib"] = tracemalloc.get_traced_memory()[0] / 2**20
    tracemalloc.stop()
    return figures


def main() -> None:
    results = {name: asyncio.run(_measured(*size)) for name, size in SIZES.items()}
    for name, figures in results.items():
        print(f"\n{name}")
        for what, value in figures.items():
            print(f"  {what:<16}{value:>10.2f}")
    told = {"machine": platform.platform(), "python": platform.python_version(), "most_ms": MOST, "results": results}
    RESULTS.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
