"""The whole cache against a simple model: computations that overlap, time, evictions, and a store that fails.

The model knows, for each key, the lowest version that may still be answered. Never a value of another key, never one
older than an invalidation, never an error but the factory's own.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Collection
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cachecore import Cache
from cachecore.contract.errors import InvalidationPending
from cachecore.store.memory_backend import MemoryBackend
from cachecore.testing.faulty import FaultyBackend
from cachecore.testing.virtual import VirtualClock

KEYS = st.sampled_from(["a", "b", "c"])
TAGS = ["all"]


class OwnError(Exception):
    """The factory's own."""


class CacheMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.clock = VirtualClock()
        self.run = self.clock.loop.run_until_complete
        self.memory = MemoryBackend(clock=self.clock)
        self.store = FaultyBackend(self.memory, chance=random.Random(1))
        self.cache: Cache[Any] = Cache(
            self.store, ttl=5, stale_while_revalidate=3, stale_if_error=10, refresh_ahead=1.0, soft_timeout=0.5,
            retry_after=0.5, factory_timeout=2, clock=self.clock, chance=random.Random(2), tags=TAGS,
        )  # fmt: skip
        self.versions: dict[str, int] = defaultdict(int)
        self.lowest: dict[str, int] = defaultdict(int)
        self.asked: list[tuple[asyncio.Task[Any], str, int]] = []
        self.running: dict[str, int] = defaultdict(int)
        self.detached: dict[str, int] = defaultdict(int)
        self._count_deliveries()

    def _count_deliveries(self) -> None:
        """What the store did not acknowledge holds here at once, and a second time when the store has heard."""
        pending = self.cache._engine.outbox
        delivered = pending._delivered

        def told(keys: Collection[str], stamp_keys: Collection[str]) -> None:
            for one in ("a", "b", "c"):
                self.detached[one] += 1
            delivered(keys, stamp_keys)

        pending._delivered = told

    async def compute(self, key: str, seconds: float, fails: bool) -> Any:
        self.running[key] += 1
        assert self.running[key] <= 1 + self.detached[key], "two computations of one key, and no invalidation"
        try:
            version = self.versions[key]
            await asyncio.sleep(seconds)
            if fails:
                raise OwnError
            return [key, version]
        finally:
            self.running[key] -= 1

    def check(self, key: str, lowest: int, answer: Any) -> None:
        if answer is not None:
            assert answer[0] == key
            assert answer[1] >= lowest

    @rule(key=KEYS, seconds=st.sampled_from([0.0, 0.1, 1.0, 3.0]), fails=st.booleans())
    def ask(self, key: str, seconds: float, fails: bool) -> None:
        """Begin to ask; the answer may come many steps later."""

        async def begin() -> None:
            task = asyncio.ensure_future(self.cache.get_or_set(key, lambda: self.compute(key, seconds, fails)))
            self.asked.append((task, key, self.lowest[key]))
            await asyncio.sleep(0.001)

        self.run(begin())

    @rule(which=st.integers(0, 5))
    def leave(self, which: int) -> None:
        if which < len(self.asked):
            self.asked[which][0].cancel()

    @rule(key=KEYS)
    def get(self, key: str) -> None:
        self.check(key, self.lowest[key], self.run(self.cache.get(key)))
        self.check(key, self.lowest[key], self.cache.peek(key))

    @rule(key=KEYS)
    def get_stale(self, key: str) -> None:
        self.check(key, self.lowest[key], self.run(self.cache.lookup(key, stale=True)).value)

    @rule(key=KEYS, way=st.sampled_from(["set", "delete", "refresh", "tags", "all", "expire"]))
    def change(self, key: str, way: str) -> None:
        """The source changes, and the cache is told; from then on nothing older may be answered."""
        keys = ["a", "b", "c"] if way in ("tags", "all") else [key]
        for one in keys:
            self.detached[one] += 1
            if way != "expire":
                self.versions[one] += 1
        try:
            if way == "set":
                self.run(self.cache.set(key, [key, self.versions[key]]))
            elif way == "delete":
                self.run(self.cache.delete(key))
            elif way == "refresh":
                assert self.run(self.cache.refresh(key, lambda: self.compute(key, 0.1, False)))[1] >= self.lowest[key]
            elif way == "tags":
                self.run(self.cache.invalidate_tags(*TAGS))
            elif way == "all":
                self.run(self.cache.invalidate_all())
            else:
                self.run(self.cache.expire(key))
        except InvalidationPending:
            pass
        if way not in ("refresh", "expire"):
            for one in keys:
                self.lowest[one] = self.versions[one]

    @rule(seconds=st.sampled_from([0.01, 0.6, 2.5, 6.0, 20.0]))
    def wait(self, seconds: float) -> None:
        self.run(asyncio.sleep(seconds))

    @rule(prefix=st.sampled_from(["cc:e", "cc:s", "cc.l"]))
    def evict(self, prefix: str) -> None:
        """The store loses entries, tombstones and claims, or stamps, or leases.

        A claim that is gone may have been deleted by an invalidation, so nobody joins its computation any more.
        """
        if prefix == "cc:e":
            for one in ("a", "b", "c"):
                self.detached[one] += 1
        keys = [key for key in self.memory._values if key.startswith(prefix)]
        self.run(self.memory.delete_many(keys))

    @rule(operation=st.sampled_from(["get_many", "swap", "set_many", "delete_many", None]), kind=st.integers(0, 3))
    def break_store(self, operation: str | None, kind: int) -> None:
        if kind == 0:
            self.store.fail(operation, times=3)
        elif kind == 1:
            self.store.hang(operation, times=2)
        elif kind == 2:
            self.store.fail(operation, times=2, done=True)
        else:
            self.store.corrupt(prefix="cc:", times=2)

    @rule()
    def heal(self) -> None:
        self.store.heal()

    @invariant()
    def answers_are_right(self) -> None:
        for entry in list(self.asked):
            task, key, lowest = entry
            if task.done():
                self.asked.remove(entry)
                if task.cancelled():
                    continue
                error = task.exception()
                assert error is None or isinstance(error, OwnError | TimeoutError)
                if error is None:
                    self.check(key, lowest, task.result())

    def teardown(self) -> None:
        self.store.heal()
        try:
            self.run(asyncio.sleep(60))
            self.answers_are_right()
            assert not self.asked
            for state in self.cache._engine.states():
                assert (len(state.flights), state.flights.tasks, state.background) == (0, 0, 0)
            self.run(self.cache.aclose())
            self.run(asyncio.sleep(0))
            assert not asyncio.all_tasks(self.clock.loop)
        finally:
            for task in asyncio.all_tasks(self.clock.loop):
                task.cancel()
            self.run(asyncio.sleep(1))
            self.clock.loop.close()


TestCache = CacheMachine.TestCase
TestCache.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
