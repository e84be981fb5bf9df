"""Reads and writes of stores by several tasks at once, as turns of the runner and as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from benchmarks.peers.interface import Store
from benchmarks.running.results import Table, of_samples
from benchmarks.running.rounds import Turn, interleaved
from benchmarks.running.work import ANSWER, at_once, zipf

TASKS: Final = (1, 16, 64, 256)
READS: Final = 512
WRITES: Final = 256

Requests = Sequence[dict[str, Any]]


def reads(store: Store, requests: Requests, numbers: Sequence[int], tasks: int = 1) -> Turn:
    """Return a turn that reads the answers to the requests of these numbers."""
    return at_once(lambda number: store.get(requests[number]), numbers, tasks)


def writes(store: Store, requests: Requests, numbers: Sequence[int], tasks: int = 1) -> Turn:
    """Return a turn that writes an answer to the requests of these numbers."""
    return at_once(lambda number: store.set(requests[number], ANSWER), numbers, tasks)


async def tables(
    stores: Mapping[str, Store], requests: Requests, *, where: str, base: str, seconds: float
) -> list[Table]:
    """Return a table of hits and one of writes for each number of tasks; ratios are those to `base`."""
    drawn = zipf(len(requests), READS)
    made = []
    for word, turn_of, numbers in (("hit", reads, drawn), ("write", writes, range(WRITES))):
        for tasks in TASKS:
            turns = {name: turn_of(store, requests, numbers, tasks) for name, store in stores.items()}
            samples = await interleaved(turns, seconds=seconds)
            made.append(of_samples(f"{word} {where}, {tasks} at once", samples, base))
    return made
