"""S3-FIFO against a reference implementation on real traffic, and the order in which ghosts are forgotten."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from cachecore.memory.eviction.s3fifo import S3FifoPolicy
from tests.unit.memory.eviction.traces import hit_percent

DATA = Path(__file__).resolve().parents[5] / "shared" / "data" / "cache-traces"


@pytest.mark.skipif(not DATA.is_dir(), reason="the traces are not beside the project")
@pytest.mark.parametrize(("trace", "capacity"), [("web07", 512), ("web07", 2048), ("sprite", 100), ("sprite", 400)])
def test_it_hits_as_often_as_the_reference(trace: str, capacity: int) -> None:
    rows = json.loads((DATA / "reference_hit_ratios.json").read_text())["rows"]
    (theirs,) = [row["s3fifo"] for row in rows if (row["trace"], row["cap"]) == (trace, capacity)]
    requests = gzip.decompress((DATA / f"{trace}.txt.gz").read_bytes()).decode().split()
    assert abs(hit_percent(S3FifoPolicy, capacity, requests) - theirs) <= 0.3


def test_a_ghost_that_came_back_is_remembered_anew() -> None:
    """The last time that it left counts: the times before take no place among the ghosts."""
    policy = S3FifoPolicy(20)
    for number in range(20):
        policy.add(f"k{number}")
    policy.add("more")
    assert policy.evict() == "k0"
    for _ in range(5):
        policy.add("k0")  # back from the ghosts, and in the main queue
        policy.discard("k0")  # a ghost again, the latest
    for number in range(16):  # as many others leave as ghosts are remembered beside it
        policy.add(f"n{number}")
        policy.evict()
    policy.add("k0")
    small = policy._small
    assert "k0" not in small
