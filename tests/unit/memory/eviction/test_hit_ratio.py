"""What the policies are worth, on real traces and on made-up traffic of every kind."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from random import Random

import pytest

from cachecore.memory.eviction import EvictionPolicy
from cachecore.memory.eviction.adaptive import AdaptivePolicy
from cachecore.memory.eviction.lfu import LfuPolicy
from cachecore.memory.eviction.lru import LruPolicy
from cachecore.memory.eviction.s3fifo import S3FifoPolicy
from cachecore.memory.eviction.tinylfu import TinyLfuPolicy
from tests.unit.memory.eviction import traces


def adaptive(capacity: int) -> EvictionPolicy:
    return AdaptivePolicy(capacity, chance=Random(1))


def tiny_lfu(capacity: int) -> EvictionPolicy:
    return TinyLfuPolicy(capacity, chance=Random(1))


REAL = [
    ("web07", 512),
    ("web07", 2048),
    ("sprite", 100),
    ("sprite", 400),
    ("scarab-recs", 1000),
    ("scarab-recs", 5000),
    ("orm-busy", 250),
    ("orm-busy", 1000),
]


def reference(shared_data: Path, name: str, capacity: int) -> tuple[dict[str, float], list[str]]:
    folder = shared_data / "cache-traces"
    rows = json.loads((folder / "reference_hit_ratios.json").read_text())["rows"]
    row = next(row for row in rows if (row["trace"], row["cap"]) == (name, capacity))
    return row, gzip.decompress((folder / f"{name}.txt.gz").read_bytes()).decode().split()


@pytest.mark.parametrize(("name", "capacity"), REAL)
def test_lru_is_exactly_lru(shared_data: Path, name: str, capacity: int) -> None:
    row, trace = reference(shared_data, name, capacity)
    assert round(traces.hit_percent(LruPolicy, capacity, trace), 2) == row["lru"]


@pytest.mark.parametrize(
    ("name", "capacity"),
    [pytest.param(*one, marks=[pytest.mark.soak] if nth % 2 else []) for nth, one in enumerate(REAL)],
)
def test_adaptive_is_near_the_best_on_real_traces(shared_data: Path, name: str, capacity: int) -> None:
    """Never a point below LRU, nor two below the best of what competes in it."""
    row, trace = reference(shared_data, name, capacity)
    ours = traces.hit_percent(adaptive, capacity, trace)
    assert ours > row["lru"] - 1
    assert ours > max(row["lru"], row["s3fifo"]) - 2
    if (name, capacity) == ("scarab-recs", 1000):
        assert ours > row["lru"] + 5


@pytest.mark.parametrize(("name", "capacity"), [("web07", 512), ("scarab-recs", 1000)])
def test_s3_fifo_is_what_its_authors_describe(shared_data: Path, name: str, capacity: int) -> None:
    row, trace = reference(shared_data, name, capacity)
    assert traces.hit_percent(S3FifoPolicy, capacity, trace) == pytest.approx(row["s3fifo"], abs=0.5)


SHORT = ("zipf, scans", "shifting fast", "recency", "loop", "phases")
"""Traffic of every kind that is run each time; the others are run by `make soak`."""

ANY = [
    pytest.param(name, capacity, marks=[pytest.mark.soak] if nth or name not in SHORT else [])
    for name, (_, sizes) in traces.MADE.items()
    for nth, capacity in enumerate(sizes)
]


@pytest.mark.parametrize(("name", "capacity"), ANY)
def test_adaptive_is_near_the_best_on_any_traffic(name: str, capacity: int) -> None:
    """Never a point below LRU; never far below the best of its candidates, learning included."""
    trace = traces.keys(traces.MADE[name][0]())
    ours = traces.hit_percent(adaptive, capacity, trace)
    lru, s3fifo, tinylfu = (traces.hit_percent(make, capacity, trace) for make in (LruPolicy, S3FifoPolicy, tiny_lfu))
    assert ours > lru - 1
    assert ours > max(lru, s3fifo, tinylfu) - 4


def test_adaptive_beats_all_of_its_candidates_where_the_traffic_changes() -> None:
    trace = traces.keys(traces.MADE["fast phases"][0]())
    ours = traces.hit_percent(adaptive, 500, trace)
    for make in (LruPolicy, S3FifoPolicy, tiny_lfu):
        assert ours > traces.hit_percent(make, 500, trace) + 3


def test_skewed_popularity_in_a_hundredth_of_the_keys() -> None:
    """LRU makes 39 %; the best policies known, about 50.5 %."""
    trace = traces.keys(traces.zipf(Random(5), unique=10_000, requests=200_000))
    assert traces.hit_percent(adaptive, 100, trace) >= 49


def test_a_loop_a_little_too_long_is_kept_in_part() -> None:
    """LRU never hits in it."""
    trace = traces.keys(traces.MADE["loop"][0]())
    assert traces.hit_percent(LruPolicy, 1000, trace) == 0
    assert traces.hit_percent(adaptive, 1000, trace) > 0.8 * traces.optimum_percent(1000, trace)


def test_lfu_keeps_what_was_used_most() -> None:
    trace = traces.keys(traces.zipf(Random(5), unique=10_000, requests=60_000))
    assert traces.hit_percent(LfuPolicy, 1000, trace) > traces.hit_percent(LruPolicy, 1000, trace) + 4


def test_no_policy_beats_the_optimum() -> None:
    trace = traces.keys(traces.zipf(Random(5), unique=1000, requests=10_000))
    best = traces.optimum_percent(100, trace)
    for make in (LruPolicy, S3FifoPolicy, tiny_lfu, adaptive, LfuPolicy):
        assert traces.hit_percent(make, 100, trace) < best
