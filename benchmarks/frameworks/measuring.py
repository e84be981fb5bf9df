"""How one framework is measured: both caches hold the same answer and take turns, in an order drawn anew each round."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

ROUNDS: Final = 21
SAMPLE_SECONDS: Final = 0.03
"""About how long one sample takes: as many hits as fit."""
TEXT: Final = "An answer of some length. " * 40
VALUE: Final[dict[str, Any]] = {"id": "chatcmpl-1", "text": "word " * 200, "usage": {"in": 12, "out": 250}}

Hits = Callable[[int], Any]
"""Makes so many hits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One framework: the hits through cachecore, and those of what it is compared with."""

    framework: str
    call: str
    packages: tuple[str, ...]
    """Distributions with the versions that a row names."""
    ours: Hits
    own: Hits
    own_is: str
    """What it is compared with: its own cache in memory or, where it has none, the framework with a model that answers
    at once."""


def repeated(hit: Callable[[], Any]) -> Hits:
    """Return the hits of a call that blocks."""

    def hits(count: int) -> None:
        for _ in range(count):
            hit()

    return hits


def awaited(loop: asyncio.AbstractEventLoop, hit: Callable[[], Awaitable[Any]]) -> Hits:
    """Return the hits of an asynchronous call, in one run of the loop."""

    async def all_of(count: int) -> None:
        for _ in range(count):
            await hit()

    return lambda count: loop.run_until_complete(all_of(count))


def _sample(hits: Hits, count: int) -> float:
    """Return the processor time of one hit, in microseconds."""
    begun = time.process_time()
    hits(count)
    return (time.process_time() - begun) / count * 1e6


def measured(row: Row, chance: random.Random) -> dict[str, float]:
    """Return the median processor time of a hit on both sides, in microseconds, and the median ratio of a round."""
    sides = (row.ours, row.own)
    counts = []
    for hits in sides:
        hits(3)  # stores the answer, and warms up
        counts.append(max(1, min(20_000, int(SAMPLE_SECONDS * 1e6 / max(1.0, _sample(hits, 3))))))
    rounds: list[tuple[float, float]] = []
    for _ in range(ROUNDS):
        times = {which: _sample(sides[which], counts[which]) for which in chance.sample((0, 1), 2)}
        rounds.append((times[0], times[1]))
    return {
        "cachecore_us": round(statistics.median(ours for ours, _ in rounds), 1),
        "own_us": round(statistics.median(own for _, own in rounds), 1),
        "ratio": round(statistics.median(ours / own for ours, own in rounds), 2),
    }
