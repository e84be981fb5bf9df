"""S3-FIFO against a reference on real traffic, the order in which ghosts are forgotten, and that no hit is."""

from __future__ import annotations

import gc
import gzip
import json
import threading
import weakref
from pathlib import Path

import pytest

from cachecore.contract.eviction import TOUCHES_NOTED
from cachecore.memory.eviction.s3fifo import S3FifoPolicy
from cachecore.memory.tier import MemoryTier
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


def full_tier(entries: int) -> tuple[MemoryTier[str], S3FifoPolicy]:
    made: list[S3FifoPolicy] = []

    def policy(capacity: int) -> S3FifoPolicy:
        made.append(S3FifoPolicy(capacity))
        return made[0]

    tier: MemoryTier[str] = MemoryTier(max_bytes=1 << 30, max_entries=entries, policy=policy)
    for number in range(entries):
        tier.put(f"k{number}", "value", 5)
    return tier, made[0]


def test_no_hit_between_two_puts_is_forgotten() -> None:
    """A key keeps its uses however many hits on other keys follow before the next put."""
    tier, _ = full_tier(10)
    for _ in range(2):
        tier.get("k0")
    for _ in range(20 * TOUCHES_NOTED):
        tier.get("k9")
    for number in range(10):
        tier.put(f"new{number}", "value", 5)
    assert "k0" in tier
    assert "k1" not in tier


def test_a_reader_applies_the_hits_when_there_are_many() -> None:
    """So they take no more memory than that, without a put."""
    tier, policy = full_tier(10)
    for number in range(20 * TOUCHES_NOTED):
        tier.get(f"k{number % 10}")
        assert len(policy.touched) <= TOUCHES_NOTED


def test_a_reader_waits_for_no_writer_and_forgets_no_hit_meanwhile() -> None:
    """The hits noted while a writer has the lock are applied by the first hit after it."""
    tier, policy = full_tier(10)
    has_lock, leave = threading.Event(), threading.Event()

    def write() -> None:
        with tier._lock:
            has_lock.set()
            assert leave.wait(30)

    writer = threading.Thread(target=write)
    writer.start()
    assert has_lock.wait(30)
    for _ in range(2):
        tier.get("k0")
    for _ in range(3 * TOUCHES_NOTED):
        tier.get("k9")
    assert len(policy.touched) == 2 + 3 * TOUCHES_NOTED
    leave.set()
    writer.join()
    tier.get("k9")
    assert len(policy.touched) == 0
    tier.put("new", "value", 5)
    assert "k0" in tier
    assert "k1" not in tier


def test_a_tier_without_users_is_freed_at_once() -> None:
    """The call that notes hits does not keep the tier alive, so its copies do not wait for the garbage collector."""
    gc.disable()
    try:
        tier, _ = full_tier(10)
        here = weakref.ref(tier)
        _, touch = tier.reader
        del tier
        assert here() is None
        for _ in range(2 * TOUCHES_NOTED):
            touch("k0")  # as a reader does that was held up
    finally:
        gc.enable()
