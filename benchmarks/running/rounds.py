"""Contenders timed in turns in one process: all see the same machine, and none always comes after the same other."""

from __future__ import annotations

import gc
import os
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

Turn = Callable[[], Awaitable[int]]
"""Does some calls, and returns how many."""


def repeated(call: Callable[[], object], times: int) -> Turn:
    """Return a turn of `times` calls of a plain function."""

    async def turn() -> int:
        for _ in range(times):
            call()
        return times

    return turn


LEAST_ROUNDS: Final = 5
SCALE: Final = "BENCHMARKS_SCALE"
QUICK: Final = 0.1
LONG: Final = 5.0


@dataclass(frozen=True, slots=True)
class Sample:
    """µs of one call, averaged over a turn."""

    wall: float
    processor: float
    """Of this process, all of its threads."""


Samples = dict[str, list[Sample]]


async def interleaved(
    turns: Mapping[str, Turn],
    *,
    seconds: float,
    most_rounds: int = 51,
    seed: int = 1,
    before: Mapping[str, Callable[[], Awaitable[object]]] | None = None,
) -> Samples:
    """Return what the turns took, round by round, for about `seconds`, in an order drawn anew each round.

    A first round that is not counted makes connections and warms up. The calls of `before` prepare the turns of these
    names, each time, and are not counted either.
    """
    chance = random.Random(seed)
    prepare = before or {}
    found: Samples = {name: [] for name in turns}
    for name, turn in turns.items():
        if name in prepare:
            await prepare[name]()
        await turn()
    gc.collect()
    gc.freeze()  # what was made to measure with is nothing that a collection should pass through in a turn
    end = time.monotonic() + seconds * scale()
    try:
        for number in range(most_rounds):
            if number >= LEAST_ROUNDS and time.monotonic() > end:
                break
            order = list(turns)
            chance.shuffle(order)
            for name in order:
                if name in prepare:
                    await prepare[name]()
                gc.collect(1)  # what a turn left behind is not collected in the next one
                processor, wall = time.process_time(), time.perf_counter()
                calls = await turns[name]()
                wall, processor = time.perf_counter() - wall, time.process_time() - processor
                found[name].append(Sample(wall / calls * 1e6, processor / calls * 1e6))
    finally:
        gc.unfreeze()
    return found


def scale() -> float:
    """Return what seconds and sizes are multiplied by: 1, less with `--quick`, more with `--long`."""
    return float(os.environ.get(SCALE, "1"))


def spread(values: list[float]) -> float:
    """Return half of the distance between the quartiles, as a share of the median."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / 2 / middle if middle else 0.0


def ratio(samples: Samples, name: str, base: str) -> float:
    """Return the median of the ratios, within a round, of the processor time of `name` to that of `base`."""
    pairs = zip(samples[name], samples[base], strict=True)
    return statistics.median(one.processor / max(other.processor, 1e-9) for one, other in pairs)
