"""What a hit in memory costs, beside other caches' hits and beside the work it cannot do without.

    python -m benchmarks.hot_path        # prints a table, writes benchmarks/results/hot_path.json

Contenders are timed in turn, round after round; figures are medians. The peers are given their fastest way: a get by
name, or a function whose arguments are all text.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import platform
import statistics
import sys
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import async_lru
import cachebox
import cashews

from benchmarks.keys import flat_request
from cachecore import Cache
from cachecore.encoding.entry import Draft
from cachecore.serializers.msgpack import MsgpackSerializer

RESULTS = Path(__file__).parent / "results" / "hot_path.json"
ROUNDS = 41
CALLS = 500
HITS_FOR_GROWTH = 1_000_000
RESPONSE = {
    "content": "You can order a new card in the app, under Cards, and it arrives within five working days. " * 16,
    "model": "gpt-4o-mini",
    "provider": "openai",
    "usage": {"prompt_tokens": 812, "completion_tokens": 356},
    "finish_reason": "stop",
}
TEXT = "My card payment was declined twice although there is money on the account. " * 20

Turn = Callable[[], Awaitable[Any]]


def sync(call: Callable[[], object]) -> Callable[[], Awaitable[float]]:
    async def turn() -> float:
        began = time.perf_counter()
        for _ in range(CALLS):
            call()
        return time.perf_counter() - began

    return turn


def awaited(call: Turn) -> Callable[[], Awaitable[float]]:
    async def turn() -> float:
        began = time.perf_counter()
        for _ in range(CALLS):
            await call()
        return time.perf_counter() - began

    return turn


async def contenders() -> dict[str, Callable[[], Awaitable[float]]]:
    cache: Cache[Any] = Cache("memory://", ttl=3600, l1_max_age=3600)
    rival = cashews.Cache()
    rival.setup("mem://")
    request = json.loads(json.dumps(flat_request()))
    await cache.set(request, RESPONSE)
    await cache.set("name", "value")
    await cache.set("response", RESPONSE)
    await rival.set("name", "value")
    key, name = cache.key(request), cache.key("name")
    serializer = MsgpackSerializer()
    payload = serializer.dumps(RESPONSE, Draft("k", b""))

    async def unused() -> object:
        raise AssertionError("every call is a hit")

    async def answer(question: str, context: str) -> int:
        return 5

    ours = cache.cached(answer)
    box = cachebox.cached(cachebox.LRUCache(1000))(answer)
    lru = async_lru.alru_cache(maxsize=1000)(answer)
    for function in (ours, box, lru):
        await function(TEXT, TEXT + "x")

    def fresh(function: Callable[[str, str], Awaitable[int]]) -> Turn:
        async def call() -> int:
            return await function(TEXT[:1499] + TEXT[1499:], TEXT + "x")

        return call

    def same(function: Callable[[str, str], Awaitable[int]]) -> Turn:
        other = TEXT + "x"
        return lambda: function(TEXT, other)

    async def strings(question: str, context: str) -> int:
        return 5

    return {
        "json + sha256, 3 KB": sync(lambda: hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()),
        "key, 3 KB": sync(lambda: cache.key(request)),
        "decode, 1.7 KB": sync(lambda: serializer.loads(payload, Draft("k", b""))),
        "peek, ready key, text": sync(lambda: cache.peek(key=name)),
        "peek, ready key, 1.7 KB dict": sync(lambda: cache.peek(key=key)),
        "get, 3 KB request, 1.7 KB dict": awaited(lambda: cache.get(request)),
        "get_or_set, 3 KB request": awaited(lambda: cache.get_or_set(request, unused)),
        "get by name": awaited(lambda: cache.get("name")),
        "get_or_set by name": awaited(lambda: cache.get_or_set("name", unused)),
        "cashews get by name": awaited(lambda: rival.get("name")),
        "function, same text": awaited(same(ours)),
        "function, same text, cachebox": awaited(same(box)),
        "function, same text, async_lru": awaited(same(lru)),
        "function, fresh text": awaited(fresh(ours)),
        "function, fresh text, cachebox": awaited(fresh(box)),
        "function, fresh text, async_lru": awaited(fresh(lru)),
        "fresh text alone": awaited(fresh(strings)),
    }


# figure, what it is divided by, how much may be added to that (µs), the most it may be
GOALS: list[tuple[str, list[str], float, float]] = [
    ("peek, ready key, text", [], 0.6, 1.0),
    ("get, 3 KB request, 1.7 KB dict", ["key, 3 KB", "decode, 1.7 KB"], 1.0, 1.0),
    ("get_or_set, 3 KB request", ["key, 3 KB", "decode, 1.7 KB"], 1.0, 1.0),
    ("get, 3 KB request, 1.7 KB dict", ["json + sha256, 3 KB"], 0.0, 0.6),
    ("get by name", ["cashews get by name"], 0.0, 0.5),
    ("get_or_set by name", ["cashews get by name"], 0.0, 0.5),
    ("function, same text", ["function, same text, cachebox"], 0.0, 1.5),
    ("function, same text", ["function, same text, async_lru"], 0.0, 1.5),
    ("function, fresh text", ["function, fresh text, cachebox"], 0.0, 1.5),
    ("function, fresh text", ["function, fresh text, async_lru"], 0.0, 1.5),
]


async def growth() -> int:
    """Return the bytes by which memory grew over a million hits."""
    cache: Cache[Any] = Cache("memory://", ttl=36_000, l1_max_age=36_000)
    await cache.set("name", "value")
    for _ in range(1000):
        await cache.get("name")
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(HITS_FOR_GROWTH):
        await cache.get("name")
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return grown


async def measure() -> dict[str, list[float]]:
    timed = await contenders()
    samples: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(ROUNDS):
        for name, turn in timed.items():
            samples[name].append(await turn() / CALLS * 1e6)
    return samples


def main() -> int:
    """Measure, print, write the results; return how many goals were missed."""
    samples = asyncio.run(measure())
    for name, times in samples.items():
        print(f"  {name:34} {statistics.median(times):8.3f} µs")
    missed = 0
    goals = []
    for name, parts, plus, most in GOALS:
        ratios = [one / (sum(samples[part][i] for part in parts) + plus) for i, one in enumerate(samples[name])]
        ratio = statistics.median(ratios)
        missed += ratio > most
        against = " + ".join([*parts, *([f"{plus} µs"] if plus else [])])
        verdict = "reached" if ratio <= most else "missed"
        print(f"  {name} / ({against}): {ratio:.2f}, goal {most:.2f} {verdict}")
        goals.append({"figure": name, "against": against, "ratio": round(ratio, 3), "goal": most})
    grown = asyncio.run(growth())
    print(f"  memory after {HITS_FOR_GROWTH:,} hits: {grown:+,} bytes")
    results = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "unit": "µs",
        "medians": {name: round(statistics.median(times), 3) for name, times in samples.items()},
        "goals": goals,
        "growth_bytes": grown,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    return missed


if __name__ == "__main__":
    sys.exit(main())
