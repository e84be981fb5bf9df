"""What similar answers as a first rung add to the hits of the declared workload.

    python -m benchmarks.similar_first      # prints a table, writes benchmarks/results/similar_first.json

Real questions of customers (BANKING77, examples/questions) in the declared mix: a part is asked once, the others by
Zipf popularity. Each is asked of a provider that answers at once, with and without `similar_first`.
"""

from __future__ import annotations

import asyncio
import csv
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

from cachecore.store.memory_backend import MemoryBackend
from cachecore_llm import CacheConfig, LLMResponse, LLMService, ResponseCache
from cachecore_llm.workload import zipf_mix

QUESTIONS = Path(__file__).parents[1] / "examples" / "questions" / "banking77.csv"
RESULTS = Path(__file__).parent / "results" / "similar_first.json"
MIXES = {"exponent 0.8": (0.0, 0.8), "exponent 1.0": (0.0, 1.0), "exponent 1.0, 40 % one-offs": (0.4, 1.0)}
REQUESTS = 2_000


class AtOnce:
    """A provider that answers every question with its own text."""

    name = "at once"

    async def generate(self, system_prompt: str, user_message: Any, context: Any = None, **params: Any) -> LLMResponse:
        return LLMResponse(content=f"To {user_message!r}: in the app.", model="m", finish_reason="stop")


async def _shares(mix: list[str], *, first: bool) -> Counter[str]:
    cache = ResponseCache(MemoryBackend(), CacheConfig(similar_first=first))
    told: Counter[str] = Counter()
    async with LLMService(AtOnce(), cache) as service:
        for question in mix:
            told[(await service.generate("You help customers of a bank.", question, model="m")).cache_status] += 1
    return told


def main() -> None:
    with QUESTIONS.open(encoding="utf-8", newline="") as file:
        questions = [row["text"] for row in csv.DictReader(file)]
    results: dict[str, dict[str, float]] = {}
    for name, (one_off, exponent) in MIXES.items():
        mix = zipf_mix(questions, requests=REQUESTS, one_off=one_off, exponent=exponent, chance=random.Random(1))
        exact = asyncio.run(_shares(mix, first=False))
        both = asyncio.run(_shares(mix, first=True))
        answered = (both["hit"] + both["similar"]) / REQUESTS
        hits = exact["hit"] / REQUESTS
        results[name] = {"exact": hits, "with_similar": answered}
        print(f"{name:<30}{hits:>8.1%}{answered:>8.1%}{(answered - hits) * 100:>+7.2f}")
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
