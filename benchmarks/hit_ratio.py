"""Which part of the requests each eviction policy answers, beside those of others and the best possible.

    python -m benchmarks.hit_ratio       # prints a table, writes benchmarks/results/hit_ratio.json

Real traces come from a folder of data beside the checkout, with hit ratios of other implementations (libcachesim) and
of Belady's optimum; without the folder only the made-up traffic is measured. What a hit and a put cost is measured by
`python -m benchmarks.memory_tier`.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from cachecore.memory.eviction import EvictionPolicy, PolicyFactory
from cachecore.memory.eviction.adaptive import AdaptivePolicy
from cachecore.memory.eviction.lfu import LfuPolicy
from cachecore.memory.eviction.lru import LruPolicy
from cachecore.memory.eviction.s3fifo import S3FifoPolicy
from cachecore.memory.eviction.tinylfu import TinyLfuPolicy
from tests.unit.memory.eviction import traces

RESULTS = Path(__file__).parent / "results" / "hit_ratio.json"
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


def main() -> int:
    """Measure everything; fail if the adaptive policy is over a point below LRU anywhere."""
    columns = ["optimum", *OURS, *(f"their {other}" for other in OTHERS)]
    print(f"{'trace':>20} {'entries':>8}" + "".join(f"{column:>15}" for column in columns))
    results: list[dict[str, Any]] = []
    below_lru: list[float] = []
    below_best: list[float] = []
    for name, capacity, trace, row in (*real(), *made()):
        row |= {policy: round(traces.hit_percent(make, capacity, trace), 2) for policy, make in OURS.items()}
        row.setdefault("optimum", round(traces.optimum_percent(capacity, trace), 2))
        shown = "".join(f"{row[column]:15.1f}" if column in row else f"{'':>15}" for column in columns)
        print(f"{name:>20} {capacity:>8}" + shown, flush=True)
        results.append({"trace": name, "entries": capacity, "requests": len(trace), "hits": row})
    below_lru = [row["hits"]["adaptive"] - row["hits"]["lru"] for row in results]
    below_best = [
        row["hits"]["adaptive"] - max(row["hits"][name] for name in OURS if name != "adaptive") for row in results
    ]
    print(f"adaptive against LRU: worst {min(below_lru):+.1f}, mean {sum(below_lru) / len(below_lru):+.1f} points")
    print(
        f"adaptive against the best of the other four: worst {min(below_best):+.1f}, best {max(below_best):+.1f} points"
    )
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"unit": "percent of requests", "rows": results}, indent=1) + "\n")
    return 0 if min(below_lru) > -1 else 1


if __name__ == "__main__":
    sys.exit(main())
