"""Every policy keeps the contract, whatever it decides."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from random import Random

import pytest

from cachecore.contract.plugins import EVICTION, installed
from cachecore.memory.eviction import EvictionPolicy, PolicyFactory
from cachecore.memory.eviction.adaptive import AdaptivePolicy
from cachecore.memory.eviction.lfu import LfuPolicy
from cachecore.memory.eviction.lru import LruPolicy
from cachecore.memory.eviction.s3fifo import S3FifoPolicy
from cachecore.memory.eviction.tinylfu import TinyLfuPolicy
from cachecore.memory.tier import MemoryTier
from tests.unit.memory.eviction import traces


def seeded_tiny_lfu(capacity: int) -> EvictionPolicy:
    return TinyLfuPolicy(capacity, chance=Random(1))


def seeded_adaptive(capacity: int) -> EvictionPolicy:
    return AdaptivePolicy(capacity, chance=Random(1))


POLICIES: dict[str, PolicyFactory] = {
    "lru": LruPolicy,
    "s3fifo": S3FifoPolicy,
    "tinylfu": seeded_tiny_lfu,
    "lfu": LfuPolicy,
    "adaptive": seeded_adaptive,
}
every_policy = pytest.mark.parametrize("make", POLICIES.values(), ids=POLICIES)


def test_each_policy_can_be_chosen_by_name() -> None:
    assert set(POLICIES) <= set(installed(EVICTION))


@every_policy
@pytest.mark.parametrize("capacity", [1, 2, 10, 700])
def test_a_policy_knows_exactly_the_keys_that_are_there(make: PolicyFactory, capacity: int) -> None:
    """Through any mix of hits, misses and deletes, and hits on keys that have just left."""
    policy, here, chance = make(capacity), set[str](), Random(capacity)
    for number in range(10_000):
        key = f"k{int(chance.paretovariate(0.6)) % (4 * capacity)}"
        if key in here and chance.random() < 0.05:
            policy.discard(key)
            here.remove(key)
        elif key in here:
            policy.touch(key)
        else:
            policy.add(key)
            here.add(key)
            while len(here) > (capacity if number < 7_500 else max(1, capacity // 3)):  # as when entries grow
                here.remove(policy.evict())
        try:
            policy.touch(f"k{chance.randrange(4 * capacity)}")  # one that is not there may be touched too
        except KeyError:
            pass
        assert len(policy) == len(here)
    while here:
        here.remove(policy.evict())
    assert len(policy) == 0


@every_policy
def test_discarding_what_is_not_there_is_an_error(make: PolicyFactory) -> None:
    policy = make(10)
    policy.add("here")
    with pytest.raises(KeyError):
        policy.discard("there")
    assert len(policy) == 1


@every_policy
def test_clear_forgets_everything(make: PolicyFactory) -> None:
    """A cleared policy decides as a new one does."""
    trace = traces.keys(traces.zipf(Random(1), unique=500, requests=3000))
    policy = make(100)
    for key in traces.keys(traces.loop(unique=150, requests=100)):
        policy.add(key)
        policy.touch(key)
    policy.clear()
    assert len(policy) == 0

    def evicted(policy: EvictionPolicy) -> list[str]:
        here, gone = set[str](), []
        for key in trace:
            if key in here:
                policy.touch(key)
                continue
            here.add(key)
            policy.add(key)
            if len(here) > 100:
                gone.append(policy.evict())
                here.remove(gone[-1])
        return gone

    once = evicted(policy)
    if make not in (seeded_tiny_lfu, seeded_adaptive):  # those draw new chance, on purpose
        assert once == evicted(make(100))
    assert len(once) > 100


@every_policy
def test_the_same_chance_gives_the_same_decisions(make: PolicyFactory) -> None:
    trace = traces.keys(traces.zipf(Random(1), unique=5000, requests=20_000))
    assert traces.hit_percent(make, 1500, trace) == traces.hit_percent(make, 1500, trace)


def _bytes_after(work: Callable[[], None]) -> int:
    work()
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


@every_policy
def test_memory_does_not_grow_with_the_keys_that_passed(make: PolicyFactory) -> None:
    """Ghosts, counters and shadows are bounded: 10,000 more keys through a tier of 200 leave it as large as before."""
    tier: MemoryTier[bool] = MemoryTier(max_bytes=1 << 30, max_entries=200, policy=make)
    chance = Random(1)

    def pass_through() -> None:
        for number in range(10_000):
            tier.put(f"k{chance.getrandbits(64):x}", True, 1)
            hot = f"hot{number % 50}"
            if tier.get(hot) is None:
                tier.put(hot, True, 1)
            if number % 7 == 0:
                tier.discard(f"hot{number % 50}")

    tracemalloc.start()
    try:
        before = _bytes_after(pass_through)
        after = _bytes_after(pass_through)
    finally:
        tracemalloc.stop()
    assert after - before < 50_000  # a leak of one reference a key would be 80,000 at least


@every_policy
def test_memory_does_not_grow_with_hits(make: PolicyFactory) -> None:
    """A million hits without a put in between leave nothing behind."""
    tier: MemoryTier[bool] = MemoryTier(max_bytes=1 << 30, max_entries=100, policy=make)
    names = [f"k{number}" for number in range(100)]
    for name in names:
        tier.put(name, True, 1)

    def hit() -> None:
        for _ in range(5000):
            for name in names:
                tier.get(name)

    tracemalloc.start()
    try:
        before = _bytes_after(hit)
        after = _bytes_after(hit)
    finally:
        tracemalloc.stop()
    assert after - before < 10_000
    assert len(tier) == 100
