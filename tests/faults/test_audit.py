"""The auditor finds what is stale, by how much, and what is impossible."""

from __future__ import annotations

import asyncio
import random
import time

import pytest

from cachecore.store.memory_backend import MemoryBackend
from cachecore.testing.audit import Journal, audit
from tests.faults.callers import cache_at


def journal(*, writes: list[tuple[int, int, float, float]], reads: list[tuple[int, int, float, float]]) -> Journal:
    made = Journal()
    for write in writes:
        made.wrote(*write)
    for read in reads:
        made.read(*read)
    return made


WRITES = [(1, 1, 10.0, 10.1), (1, 2, 20.0, 20.1), (2, 1, 10.0, float("inf"))]


def test_reads_of_what_is_current_are_consistent() -> None:
    reads = [(1, 0, 9.0, 9.1), (1, 0, 10.05, 10.2), (1, 1, 10.05, 10.2), (1, 1, 15.0, 15.0), (1, 2, 30.0, 30.0)]
    verdict = audit([journal(writes=WRITES, reads=reads)])
    assert (verdict.reads, verdict.writes, verdict.impossible, list(verdict.staleness)) == (5, 3, 0, [])
    assert verdict.worst is None
    assert verdict.percentile(1.0) == 0.0


def test_staleness_counts_from_the_first_newer_acknowledgement() -> None:
    verdict = audit([journal(writes=WRITES, reads=[(1, 0, 25.0, 25.0), (1, 1, 20.6, 20.7), (1, 2, 25.0, 25.0)])])
    assert verdict.worst is not None
    assert verdict.worst[:2] == (1, 0)
    assert [round(seconds, 3) for seconds in verdict.staleness] == [0.5, 14.9]
    assert verdict.violations == {0.0: 2, 0.001: 2, 0.01: 2, 0.1: 2, 1.0: 1, 10.0: 1, 60.0: 0, 300.0: 0}
    assert verdict.percentile(0.33) == 0.0
    assert round(verdict.percentile(0.5), 3) == 0.5
    assert round(verdict.percentile(1.0), 3) == 14.9


def test_what_was_never_acknowledged_makes_nothing_stale() -> None:
    assert audit([journal(writes=WRITES, reads=[(2, 0, 99.0, 99.0), (3, 0, 1.0, 1.0)])]).beyond(0) == 0


def test_versions_from_the_future_are_impossible() -> None:
    verdict = audit([journal(writes=WRITES, reads=[(1, 2, 15.0, 15.0), (1, 7, 30.0, 30.0), (9, 1, 5.0, 5.0)])])
    assert verdict.impossible == 3


def test_journals_travel_between_processes() -> None:
    here, there = journal(writes=WRITES, reads=[]), journal(writes=[], reads=[(1, 0, 25.0, 25.0)])
    carried = [Journal.from_bytes(one.to_bytes()) for one in (here, there)]
    assert audit(carried) == audit([here, there])
    assert audit(carried).beyond(1.0) == 1


@pytest.mark.parametrize("told", [True, False])
async def test_a_cache_that_forgets_to_invalidate_is_found_out(told: bool) -> None:
    """The auditor sees it when a cache is not told, and sees nothing when it is."""
    made = Journal()
    source = dict.fromkeys(range(5), 0)
    chance = random.Random(1)
    async with cache_at(MemoryBackend()) as cache:
        for _ in range(300):
            key = chance.randrange(5)
            began = time.monotonic()
            if chance.random() < 0.2:
                source[key] += 1
                if told:
                    await cache.delete(key)
                made.wrote(key, source[key], began, time.monotonic())
            else:

                async def factory(key: int = key) -> int:
                    await asyncio.sleep(0)
                    return source[key]

                made.read(key, await cache.get_or_set(key, factory), began, time.monotonic())
    verdict = audit([made])
    assert verdict.impossible == 0
    assert (verdict.beyond(0) == 0) is told
