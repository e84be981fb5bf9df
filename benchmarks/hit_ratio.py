"""Which part of the requests each eviction policy answers, beside those of others and the best possible.

    python -m benchmarks hit_ratio

Real traces come from a folder of data beside the checkout, with hit ratios of other implementations (libcachesim) and
of Belady's optimum; without the folder only the made-up traffic is measured. `python -m benchmarks eviction_puts`
measures the time of a hit and of a put.
"""

from __future__ import annotations

import functools
import gzip
import json
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.running.results import Question, Table
from benchmarks.running.rounds import scale
from benchmarks.running.work import zipf
from cachecore.memory.eviction import EvictionPolicy, PolicyFactory
from cachecore.memory.eviction.adaptive import AdaptivePolicy
from cachecore.memory.eviction.lfu import LfuPolicy
from cachecore.memory.eviction.lru import LruPolicy
from cachecore.memory.eviction.s3fifo import S3FifoPolicy
from cachecore.memory.eviction.tinylfu import TinyLfuPolicy
from tests.unit.memory.eviction import traces

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "cache-traces"
OTHERS = ("arc", "sieve", "s3fifo", "wtinylfu", "twoq")
MADE_UP = "made up: "
LOOP_SIZES = (250, 500, 900, 1000)
DISTINCT = 10_000
QUICK_CELLS = 4


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


def real() -> list[tuple[str, int, Row]]:
    """Return name and capacity of the real traces, and what others make of them."""
    if not DATA.is_dir():
        return []
    found: list[dict[str, Any]] = json.loads((DATA / "reference_hit_ratios.json").read_text())["rows"]
    theirs = [({f"their {other}": row[other] for other in OTHERS if other in row}, row) for row in found]
    cells = [(row["trace"], row["cap"], others | {"optimum": row["opt"]}) for others, row in theirs]
    return [*cells, *(("loop", size, {}) for size in LOOP_SIZES)]


@functools.cache
def trace_of(name: str) -> traces.Trace:
    """Return the requests of a real trace, or of traffic that is made up."""
    if name.startswith(MADE_UP):
        return traces.keys(traces.MADE[name.removeprefix(MADE_UP)][0]())
    return gzip.decompress((DATA / f"{name}.txt.gz").read_bytes()).decode().split()


def cell(name: str, capacity: int, row: Row) -> Row:
    """Return the percent of hits of each policy, beside those of others."""
    trace = trace_of(name)
    row = row | {policy: round(traces.hit_percent(make, capacity, trace), 2) for policy, make in OURS.items()}
    if "optimum" not in row:
        row["optimum"] = round(traces.optimum_percent(capacity, trace), 2)
    return row | {"requests": len(trace)}


def oldest_first(capacity: int, numbers: list[int], *, moves: str) -> tuple[float, float]:
    """Return percent of hits, and rows moved for each one written, of a table that drops the entry written longest ago.

    `moves` names the reads that move an entry to the young end: `no`, `every`, or `second`: if the entry was read since
    it was written, it is moved once instead of being dropped.
    """
    rows: dict[int, bool] = {}  # by age; whether it was read since it was written
    hits = written = moved = 0
    for number in numbers:
        if number in rows:
            hits += 1
            if moves == "every":
                del rows[number]
                moved += 1
            rows[number] = True
            continue
        while len(rows) >= capacity:
            oldest = next(iter(rows))
            if rows.pop(oldest) and moves == "second":
                rows[oldest] = False
                moved += 1
        rows[number] = False
        written += 1
    return 100 * hits / len(numbers), moved / written


def on_disk() -> Table:
    """Return the price of the SQLite backend's eviction: what exact bookkeeping would hit, and what it would move."""
    numbers = zipf(DISTINCT, 30 * DISTINCT)
    found = {}
    for percent in (1, 10, 50):
        made = {
            moves: oldest_first(DISTINCT * percent // 100, numbers, moves=moves) for moves in ("no", "every", "second")
        }
        found[f"{percent} % of the keys fit"] = {
            "oldest first": round(made["no"][0], 1),
            "least recently used": round(made["every"][0], 1),
            "second chance": round(made["second"][0], 1),
            "rows it moves per row written": round(made["second"][1], 2),
        }
    note = f"Percent of hits; {DISTINCT:,} keys asked for by Zipf's law (exponent 1)."
    return Table("eviction in a file, by the share that fits", "", found, note=note)


async def measure() -> list[Table]:
    rows: dict[str, dict[str, Any]] = {}
    worst: dict[str, dict[str, Any]] = {}

    def note(row: str, points: float, trace: str) -> None:
        """Keep the worst difference of each kind."""
        if points < worst.get(row, {"points": float("inf")})["points"]:
            worst[row] = {"points": round(points, 2), "trace": trace}

    cells = real() if scale() >= 1 else []
    cells += [
        (f"{MADE_UP}{name}", capacity, {}) for name, (_, capacities) in traces.MADE.items() for capacity in capacities
    ]
    if scale() < 1:
        del cells[QUICK_CELLS:]
    with ProcessPoolExecutor() as pool:  # it counts: all cores may
        measured = list(pool.map(cell, *zip(*cells, strict=True)))
    for (name, capacity, _), row in zip(cells, measured, strict=True):
        title = f"{name}, {capacity:,} entries"
        note("adaptive beside LRU", row["adaptive"] - row["lru"], title)
        if "their s3fifo" in row:
            note("s3fifo beside the reference", row["s3fifo"] - row["their s3fifo"], title)
        columns = (*OURS, *(f"their {other}" for other in OTHERS), "optimum", "requests")
        rows[title] = {column: row[column] for column in columns if column in row}
    text = "Percent of requests that are hits. The optimum knows the future (Belady); `their` are those of libcachesim."
    return [Table("hits by policy", "", rows, note=text), Table("the worst trace of each", "", worst), on_disk()]


QUESTION = Question("hit_ratio", "Which part of the requests does each eviction policy answer?", measure, timed=False)

if __name__ == "__main__":
    sys.exit(QUESTION.main())
