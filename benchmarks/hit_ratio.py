"""Which part of the requests each eviction policy answers, beside those of others and the best possible.

    python -m benchmarks hit_ratio

Real traces come from a folder of data beside the checkout, with hit ratios of other implementations (libcachesim) and
of Belady's optimum; without the folder only the made-up traffic is measured. `python -m benchmarks eviction_puts`
measures the time of a hit and of a put.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.running.results import Question, Table
from benchmarks.running.rounds import scale
from cachecore.memory.eviction import EvictionPolicy, PolicyFactory
from cachecore.memory.eviction.adaptive import AdaptivePolicy
from cachecore.memory.eviction.lfu import LfuPolicy
from cachecore.memory.eviction.lru import LruPolicy
from cachecore.memory.eviction.s3fifo import S3FifoPolicy
from cachecore.memory.eviction.tinylfu import TinyLfuPolicy
from tests.unit.memory.eviction import traces

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "cache-traces"
OTHERS = ("arc", "sieve", "s3fifo", "wtinylfu", "twoq")
LOOP_SIZES = (250, 500, 900, 1000)


def adaptive(capacity: int) -> EvictionPolicy:
    return AdaptivePolicy(capacity, chance=Random(1))


def tiny_lfu(capacity: int) -> EvictionPolicy:
    return TinyLfuPolicy(capacity, chance=Random(1))


OURS: dict[str, PolicyFactory] = {
    "adaptive": adaptive,
    "lru": LruPolicy,
    "s3fifo": S3FifoPolicy,
    "tinylfu": tiny_lfu,
    "lfu": LfuPolicy,
}

Row = dict[str, float]
"""Policy to percent of hits; those of others are called `their …`."""


def real() -> Iterator[tuple[str, int, traces.Trace, Row]]:
    """Yield name, capacity, trace and what others make of it."""
    if not DATA.is_dir():
        return
    rows: list[dict[str, Any]] = json.loads((DATA / "reference_hit_ratios.json").read_text())["rows"]
    cells: list[tuple[str, int, dict[str, Any]]] = [(row["trace"], row["cap"], row) for row in rows]
    cells += [("loop", size, {}) for size in LOOP_SIZES]
    for name, capacity, row in cells:
        trace = gzip.decompress((DATA / f"{name}.txt.gz").read_bytes()).decode().split()
        theirs = {f"their {other}": row[other] for other in OTHERS if other in row}
        yield name, capacity, trace, theirs | ({"optimum": row["opt"]} if row else {})


def made() -> Iterator[tuple[str, int, traces.Trace, Row]]:
    """Yield name, capacity and trace of the made-up traffic."""
    for name, (make, capacities) in traces.MADE.items():
        trace = traces.keys(make())
        for capacity in capacities:
            yield name, capacity, trace, {}


async def measure() -> list[Table]:
    tables = []
    for name, capacity, trace, row in (*(real() if scale() >= 1 else ()), *made()):
        row |= {policy: round(traces.hit_percent(make, capacity, trace), 2) for policy, make in OURS.items()}
        row.setdefault("optimum", round(traces.optimum_percent(capacity, trace), 2))
        rows = {
            f"cachecore {policy}" if policy in OURS else policy: {
                "hits %": hits,
                "beyond LRU": round(hits - row["lru"], 2),
            }
            for policy, hits in row.items()
        }
        title = f"{name}, {capacity:,} entries, {len(trace):,} requests"
        tables.append(Table(title, "hits %", rows, lower_is_better=False))
    return tables


QUESTION = Question("hit_ratio", "Which part of the requests does each eviction policy answer?", measure, timed=False)

if __name__ == "__main__":
    sys.exit(QUESTION.main())
