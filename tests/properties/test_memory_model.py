"""The memory tier against a dict that forgets nothing by itself, under any sequence of calls."""

from __future__ import annotations

from collections import OrderedDict
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from cachecore.memory.eviction.adaptive import AdaptivePolicy
from cachecore.memory.tier import ENTRY_OVERHEAD_BYTES, MemoryTier
from cachecore.testing.clocks import FakeClock
from tests.unit.memory.eviction.test_contract import POLICIES

_NAMES = [f"k{number}" for number in range(12)] + ["a-longer-key" * 10]

Slot = tuple[int, float]
"""A unique number, and a deadline."""


class TierMachine(RuleBasedStateMachine):
    """Whatever is done: what is there is what was put last, the accounts are exact and the bounds hold."""

    policy_name = "lru"

    @initialize(entries=st.integers(0, 6), kib=st.integers(0, 6))
    def build(self, entries: int, kib: int) -> None:
        self.clock = FakeClock()
        self.max_bytes, self.max_entries = kib * 1024, entries
        self.tier = MemoryTier[Slot](
            max_bytes=self.max_bytes,
            max_entries=entries,
            policy=POLICIES[self.policy_name],
            deadline_of=lambda slot: slot[1],
            clock=self.clock,
        )
        self.model: OrderedDict[str, tuple[Slot, int]] = OrderedDict()  # least recently used first
        self.number = 0

    def cost(self, key: str, size: int) -> int:
        return size + len(key) + ENTRY_OVERHEAD_BYTES

    @rule(key=st.sampled_from(_NAMES), size=st.integers(0, 3000), life=st.sampled_from([1.0, 5.0, float("inf")]))
    def put(self, key: str, size: int, life: float) -> None:
        self.number += 1
        slot = (self.number, self.clock.monotonic() + life)
        evictions = self.tier.evictions
        self.tier.put(key, slot, size)
        self.model[key] = (slot, size)
        self.model.move_to_end(key)
        left = [name for name in self.model if name not in self.tier]
        now = self.clock.monotonic()
        if self.cost(key, size) > self.max_bytes or self.max_entries == 0:
            assert set(left) == {key}
            assert self.tier.evictions == evictions
        else:
            evicted = [name for name in left if self.model[name][0][1] > now]
            swept = len(left) - len(evicted)
            assert len(evicted) <= self.tier.evictions - evictions <= len(left)  # an expired one may be evicted
            assert swept <= 2 + self.tier.evictions - evictions
            if self.policy_name == "lru":
                order = {name: place for place, name in enumerate(self.model)}
                stayed = [order[name] for name in self.model if name not in left]
                assert all(order[name] < min(stayed) for name in evicted)
        for name in left:
            del self.model[name]

    @rule(key=st.sampled_from(_NAMES))
    def get(self, key: str) -> None:
        expected = self.model.get(key)
        assert self.tier.get(key) == (expected and expected[0])
        if expected:
            self.model.move_to_end(key)

    @rule(key=st.sampled_from(_NAMES))
    def discard(self, key: str) -> None:
        assert self.tier.discard(key) == (self.model.pop(key, None) is not None)

    @rule()
    def clear(self) -> None:
        self.tier.clear()
        self.model.clear()

    @rule(seconds=st.sampled_from([0.5, 1.0, 10.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @invariant()
    def accounts_are_exact(self) -> None:
        assert set(self.tier) == set(self.model)
        assert self.tier.bytes == sum(self.cost(key, size) for key, (_, size) in self.model.items())
        assert self.tier.bytes <= self.max_bytes
        assert len(self.tier) == len(self.tier._policy) <= self.max_entries


@pytest.mark.parametrize("name", POLICIES)
def test_tier_agrees_with_the_model(name: str) -> None:
    class Machine(TierMachine):
        policy_name = name

    run_state_machine_as_test(Machine, settings=settings(max_examples=60, stateful_step_count=60, deadline=None))


@given(seed=st.integers(0, 2**32), capacity=st.integers(1, 40), exponent=st.floats(0.3, 2))
@settings(max_examples=60, deadline=None)
def test_what_adaptive_remembers_is_bounded(seed: int, capacity: int, exponent: float) -> None:
    """Shadows hold no more than the cache does, also after it has shrunk; none knows a key that was deleted."""
    chance = Random(seed)
    policy, here = AdaptivePolicy(capacity, chance=Random(seed)), set[str]()
    for number in range(1500):
        room = capacity if number < 1000 else max(1, capacity // 4)
        key = f"k{int(chance.paretovariate(exponent)) % (5 * capacity)}"
        if key not in here:
            here.add(key)
            policy.add(key)
            while len(here) > room:
                here.remove(policy.evict())
        elif chance.random() < 0.1:
            here.remove(key)
            policy.discard(key)
            assert all(key not in shadow for shadow in policy._shadows)
        else:
            policy.touch(key)
        assert len(policy) == len(here)
        assert all(len(shadow) <= capacity for shadow in policy._shadows)
