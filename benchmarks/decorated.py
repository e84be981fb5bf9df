"""The cost of a call of a cached function that is a hit in memory: 10,000 different calls, as applications make them.

Five arguments by keyword, 3 KB of text, one float; answers of 1.7 KB. `python -m benchmarks decorated`
"""

from __future__ import annotations

import sys
from typing import Any, Final

from benchmarks.running.results import Question, Table, of_samples
from benchmarks.running.rounds import Turn, interleaved
from benchmarks.running.work import ANSWER, QUESTION_TEXT, SYSTEM, packages, with_part

CALLS: Final = 10_000
AWAITED: Final = "async_lru, awaited"


def arguments() -> list[dict[str, Any]]:
    return [
        {
            "model": "gpt-4o-mini",
            "system": SYSTEM,
            "question": f"{number}: {QUESTION_TEXT}",
            "temperature": 0.2,
            "max_tokens": 512,
        }
        for number in range(CALLS)
    ]


async def ask(*, model: str, system: str, question: str, temperature: float, max_tokens: int) -> dict[str, Any]:
    return dict(ANSWER)


def ask_sync(*, model: str, system: str, question: str, temperature: float, max_tokens: int) -> dict[str, Any]:
    return dict(ANSWER)


def awaited(function: Any, calls: list[dict[str, Any]]) -> Turn:
    async def turn() -> int:
        for given in calls:
            await function(**given)
        return len(calls)

    return turn


def called(function: Any, calls: list[dict[str, Any]]) -> Turn:
    async def turn() -> int:
        for given in calls:
            function(**given)
        return len(calls)

    return turn


async def measure() -> list[Table]:
    calls = arguments()
    turns = {peer.name: awaited(cached(ask), calls) for peer, cached in with_part("cached")}
    blocking: dict[str, Turn] = {
        peer.name: called(cached(ask_sync), calls) for peer, cached in with_part("cached_sync")
    }
    blocking[AWAITED] = turns["async_lru"]
    return [
        of_samples("async function, hit in memory", await interleaved(turns, seconds=15), "async_lru"),
        of_samples("plain function, hit in memory", await interleaved(blocking, seconds=15), AWAITED),
    ]


QUESTION = Question(
    "decorated",
    "The cost of a hit of a cached function",
    measure,
    sorted({*packages("cached"), *packages("cached_sync")}),
)

if __name__ == "__main__":
    sys.exit(QUESTION.main())
