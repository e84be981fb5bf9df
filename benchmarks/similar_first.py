"""The hits that similar answers, as a first rung, add in the declared workload.

    python -m benchmarks similar_first

Real questions of customers (BANKING77, examples/questions) in the declared mix: a part is asked once, the others by
Zipf popularity. Each is asked of a provider that answers at once, with and without `similar_first`.
"""

from __future__ import annotations

import csv
import random
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.running.results import Question, Table
from cachecore.store.memory_backend import MemoryBackend
from cachecore_llm import CacheConfig, LLMResponse, LLMService, ResponseCache
from cachecore_llm.workload import zipf_mix

QUESTIONS = Path(__file__).parents[1] / "examples" / "questions" / "banking77.csv"
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


async def measure() -> list[Table]:
    with QUESTIONS.open(encoding="utf-8", newline="") as file:
        questions = [row["text"] for row in csv.DictReader(file)]
    rows = {}
    for name, (one_off, exponent) in MIXES.items():
        mix = zipf_mix(questions, requests=REQUESTS, one_off=one_off, exponent=exponent, chance=random.Random(1))
        exact, both = await _shares(mix, first=False), await _shares(mix, first=True)
        hits, answered = (100 * count / REQUESTS for count in (exact["hit"], both["hit"] + both["similar"]))
        rows[name] = {
            "exact %": round(hits, 2),
            "with similar answers %": round(answered, 2),
            "points": round(answered - hits, 2),
        }
    return [Table(f"{REQUESTS:,} requests that need no provider", "", rows)]


QUESTION = Question("similar_first", "The hits that similar answers add", measure, timed=False)

if __name__ == "__main__":
    sys.exit(QUESTION.main())
