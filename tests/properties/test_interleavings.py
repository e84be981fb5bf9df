"""Invalidations against computations, in every order that messages can arrive in.

Each answer is the version of its source when its computation began. A caller that starts after an acknowledged
invalidation must never get an earlier version: at once in the process that invalidated, and within the time that a
copy in memory may be trusted in the others.
"""

from __future__ import annotations

import asyncio
import gc
import random
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cachecore import Cache
from cachecore.contract.errors import InvalidationPending
from cachecore.store.memory_backend import MemoryBackend
from cachecore.testing.virtual import VirtualClock

from .network import LAG, FeedingLink, Link

KEYS = ["a", "b"]
TAG = "docs"
L1_MAX_AGE = 0.3
LONG = 3600.0


@dataclass
class World:
    """What the sources of the answers are, and what everybody has been promised about them."""

    clock: VirtualClock
    chance: random.Random
    bound: float
    """Seconds after which an invalidation must be known to the other processes."""
    versions: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    promises: list[tuple[float, int, str, int]] = field(default_factory=list)
    """(when acknowledged, by which process, key, lowest version that may be answered from then on)."""
    running: dict[tuple[int, str], int] = field(default_factory=lambda: defaultdict(int))
    calls: int = 0
    changes: int = 0
    """Changes under way."""
    setting: bool = False

    def promise(self, process: int, lowest: dict[str, int]) -> None:
        now = self.clock.monotonic()
        self.promises += [(now, process, key, version) for key, version in lowest.items()]

    def lowest(self, process: int, key: str) -> int:
        """Return the lowest version that a caller of `process` who starts now may get."""
        now = self.clock.monotonic()
        return max(
            (
                version
                for at, by, of, version in self.promises
                if of == key and (by == process or at + self.bound < now or self.bound == 0)
            ),
            default=0,
        )

    async def compute(self, process: int, key: str) -> list[Any]:
        self.calls += 1
        version = self.versions[key]
        await asyncio.sleep(self.chance.choice([0.0, LAG / 2, 3 * LAG, 10 * LAG]) * self.chance.random())
        return [key, version]


async def ask(world: World, process: int, cache: Cache[Any], key: str) -> None:
    """Ask as a caller may, perhaps leave early, and check what comes."""
    lowest = world.lowest(process, key)
    way = world.chance.randrange(5)
    tags = [TAG] if world.chance.random() < 0.7 else []
    call: Any
    if way == 0:
        call = cache.get(key, [key, 10**9], tags=tags)
    elif way == 1:
        call = cache.refresh(key, lambda: world.compute(process, key), tags=tags)
    else:
        call = cache.get_or_set(key, lambda: world.compute(process, key), tags=tags)
    task = asyncio.ensure_future(call)
    if world.chance.random() < 0.2:
        await asyncio.sleep(world.chance.random() * 5 * LAG)
        task.cancel()
    try:
        name, version = await task
    except asyncio.CancelledError:
        return
    assert name == key, "the answer to another key"
    # A caller without the tag may be given what an invalidation of the tag did not concern.
    if tags:
        assert version >= lowest, f"version {version} of {key} after {lowest} was promised"


async def change(world: World, process: int, cache: Cache[Any]) -> None:
    """Change a source and say so, in one of the ways there are; everything is promised once it is acknowledged."""
    way = world.chance.randrange(5)
    if world.setting or (way == 1 and world.changes):
        return  # who sets an old value while another one invalidates gets what it asked for
    world.changes += 1
    world.setting = way == 1
    keys = KEYS if way >= 2 else [world.chance.choice(KEYS)]
    lowest = {}
    for key in keys:
        world.versions[key] += 1
        lowest[key] = world.versions[key]
    try:
        if way == 0:
            await cache.delete(keys[0])
        elif way == 1:
            await cache.set(keys[0], [keys[0], lowest[keys[0]]], tags=[TAG])
        elif way == 2:
            await cache.invalidate_tags(TAG)
        elif way == 3:
            await cache.invalidate_all()
        else:
            await cache.delete_many(KEYS)
    except InvalidationPending:
        pass  # this process has forgotten its copies and trusts no old ones: the promise holds here all the same
    finally:
        world.changes -= 1
        world.setting &= way != 1
    world.promise(process, lowest)


async def live(world: World, caches: list[Cache[Any]], steps: int) -> None:
    tasks: list[asyncio.Task[None]] = []
    for _ in range(steps):
        process = world.chance.randrange(len(caches))
        cache = caches[process]
        if world.chance.random() < 0.25:
            tasks.append(asyncio.ensure_future(change(world, process, cache)))
        else:
            tasks.append(asyncio.ensure_future(ask(world, process, cache, world.chance.choice(KEYS))))
        await asyncio.sleep(world.chance.choice([0.0, 0.0, LAG / 4, LAG, 5 * LAG]) * world.chance.random())
    await asyncio.gather(*tasks)


def check_nothing_is_left(caches: list[Cache[Any]]) -> None:
    if any(cache._engine.feed_state.tickets.under_way for cache in caches):
        gc.collect()  # errors of cancelled callers hold the frames that they passed
    for cache in caches:
        engine = cache._engine
        (state,) = engine.states()
        assert len(state.flights) == 0
        assert state.flights.tasks == 0
        assert state.coalescer.pending == 0
        assert not state.coalescer._collecting
        assert not state.wakeups._waiting
        assert state.background == 0
        assert not state.tasks
        assert engine.backend.under_way == 0
        assert not engine.feed_state.tickets.under_way


def run(seed: int, *, kind: str, processes: int = 2, steps: int = 30, failing: float = 0.0) -> None:
    chance = random.Random(seed)
    clock = VirtualClock()
    store = MemoryBackend(clock=clock)
    bound = {"no memory": 0.0, "memory": L1_MAX_AGE + 4 * LAG, "feed": 4 * LAG}[kind]
    if failing:
        bound = LONG  # a process that cannot ask cannot know what another one has invalidated

    async def main() -> None:
        links: list[Link] = []
        feeding: list[FeedingLink] = []
        caches: list[Cache[Any]] = []
        for number in range(processes):
            own = random.Random(chance.random())
            link = (
                FeedingLink(store, clock, own, feeding, failing=failing)
                if kind == "feed"
                else Link(store, clock, own, failing=failing)
            )
            links.append(link)
            caches.append(
                Cache(
                    link,
                    ttl=chance.choice([0.5, 60]),
                    stale_while_revalidate=chance.choice([0.0, 2.0]),
                    stale_if_error=chance.choice([0.0, 5.0]),
                    soft_timeout=chance.choice([None, LAG]),
                    clock=clock,
                    chance=own,
                    l1_max_entries=0 if kind == "no memory" else 100,
                    l1_max_age=L1_MAX_AGE,
                    breaker_backoff=0.02,
                    breaker_backoff_max=0.1,
                    name=f"process {number}",
                )
            )
        world = World(clock, chance, bound)
        await live(world, caches, steps)
        for link in links:
            link.failing = 0.0
        await asyncio.sleep(30)  # leases, repetitions and back-offs run out
        check_nothing_is_left(caches)
        for cache in caches:
            await cache.aclose()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    clock.run(main())


@pytest.mark.parametrize("kind", ["no memory", "memory", "feed"])
@settings(max_examples=24, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_no_answer_is_older_than_an_acknowledged_invalidation(kind: str, seed: int) -> None:
    run(seed, kind=kind)


@pytest.mark.parametrize("kind", ["memory", "feed"])
@settings(max_examples=24, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_own_invalidations_hold_while_the_store_fails_now_and_then(kind: str, seed: int) -> None:
    """Acknowledged or pending: this process serves nothing older, whatever other processes may still serve."""
    run(seed, kind=kind, failing=0.1)


@pytest.mark.soak
@pytest.mark.parametrize("failing", [0.0, 0.1])
@pytest.mark.parametrize("kind", ["no memory", "memory", "feed"])
def test_no_answer_is_older_however_long_it_goes_on(kind: str, failing: float) -> None:
    for seed in range(400):
        run(seed, kind=kind, failing=failing, processes=2 + seed % 2, steps=60)
