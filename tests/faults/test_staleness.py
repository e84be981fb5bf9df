"""S1-S4: how long an old answer may live elsewhere, and that none lives for good."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from cachecore import Cache
from cachecore.contract.errors import InvalidationPending
from cachecore.testing.proxy import Proxy
from cachecore.testing.servers import Server
from tests.conftest import Record
from tests.faults.callers import PATIENT, answer, cache_at, request, sizes, until
from tests.faults.cells import insist
from tests.faults.members import deleter
from tests.faults.processes import members
from tests.faults.reliability import ms, percentile

_BATCH = 50
AGELESS: dict[str, Any] = {"l1_max_age": 600}
"""Options of caches whose copies do not age during a test: an old copy ends only because the feed tells of a change."""


@asynccontextmanager
async def live(url: str, **options: Any) -> AsyncIterator[Cache[Any]]:
    """A cache whose feed is alive."""
    async with cache_at(url, **{**PATIENT, **options}) as cache:
        await cache.get(request(0))
        await until(lambda: cache._engine.feed_state.live)
        yield cache


@sizes(500, 10_000)
async def test_s1_deleted_elsewhere(size: int, any_server: Server, record: Record) -> None:
    """Deleted and acknowledged in one process: how long copies in another's memory are still served."""
    late: list[float] = []
    async with members(deleter, [(any_server.url,)]) as (other,), live(any_server.url) as cache:
        assert await other.told() == "ready"
        # The moment from which a copy is not served: watching for it by asking in a circle would take the processor
        # from the others.
        gone: dict[str, float] = {}
        forget = cache._engine.changed

        def watched(keys: Collection[str]) -> None:
            forget(keys)
            gone.update(dict.fromkeys(keys, time.monotonic()))

        cache._engine.changed = watched  # type: ignore[method-assign]  # looks on
        for first in range(0, size, _BATCH):
            numbers = list(range(first, first + _BATCH))
            for number in numbers:
                await cache.set(request(number), answer(number, 30))
            keys = {number: cache.key(request(number)) for number in numbers}
            assert all(cache.peek(key=key) is not None for key in keys.values())
            gone.clear()
            acknowledged = dict(zip(numbers, await other.ask(numbers), strict=True))
            await until(lambda keys=keys: gone.keys() >= set(keys.values()))  # type: ignore[misc] # mypy infers no default of a lambda
            assert all(cache.peek(key=key) is None for key in keys.values())
            late += [max(0.0, gone[keys[number]] - acknowledged[number]) for number in numbers]
            # And the store has it no more, so nobody gets it back from there.
            assert await cache.get_many({str(number): request(number) for number in numbers}) == {}
    parts = [percentile(late, part) for part in (0.5, 0.99, 0.999)]
    text = f"p50 {ms(parts[0])}, p99 {ms(parts[1])}, p99.9 {ms(parts[2])}, max {ms(max(late))}"
    met = parts[0] <= 0.0005 and parts[1] <= 0.002 and parts[2] <= 0.005 and max(late) <= 0.05
    record("S1", text, met=met, size=f"{len(late):,} trials")


_raced: dict[str, int] = {}


def _record_race(record: Record, name: str, size: int) -> None:
    _raced[name] = size
    record("S2", "0 stale", met=True, size=" + ".join(f"{count:,} {name}" for name, count in sorted(_raced.items())))


async def _turns(chance: random.Random, most: int = 12) -> None:
    for _ in range(chance.randrange(most)):
        await asyncio.sleep(0)


@sizes(300, 10_000)
async def test_s2_fill_race(size: int, any_server: Server, record: Record) -> None:
    """A copy is filled while the answer is deleted elsewhere: it does not stay."""
    chance = random.Random(1)
    async with live(any_server.url, **AGELESS) as a, live(any_server.url, **AGELESS) as b:
        for number in range(size):
            await a.set(request(number), answer(number, 30))

            async def read(number: int = number) -> None:
                await _turns(chance)
                assert await b.get(request(number)) in (None, answer(number, 30))

            async def delete(number: int = number) -> None:
                await _turns(chance)
                await a.delete(request(number))

            await asyncio.gather(read(), delete(), read())
            await _gone(b, request(number), answer(number, 30))
    _record_race(record, "fill", size)


async def _gone(cache: Cache[Any], asked: Any, old: Any) -> None:
    """Fail if the old answer stays; on a busy machine a push takes a while."""
    limit = time.monotonic() + 20
    while await cache.get(asked) == old:
        assert time.monotonic() < limit, "the old answer stays"


@sizes(300, 10_000)
async def test_s2_loader_race(size: int, any_server: Server, record: Record) -> None:
    """A factory that read before a change does not land over it, in its own process or another's."""
    chance = random.Random(2)
    async with live(any_server.url, **AGELESS) as a, live(any_server.url, **AGELESS) as b:
        for number in range(size):
            source = [1]

            async def factory(source: list[int] = source) -> int:
                seen = source[0]
                await _turns(chance, 30)
                return seen

            async def change(source: list[int] = source, number: int = number) -> None:
                await _turns(chance, 40)
                source[0] = 2
                how = chance.randrange(4)
                if how == 0:
                    await a.delete(request(number))
                elif how == 1:
                    await a.invalidate_tags(f"tag {number}")
                elif how == 2:
                    await a.set(request(number), 2, tags=[f"tag {number}"])
                else:
                    await b.delete(request(number))

            tags = [f"tag {number}"]
            await asyncio.gather(
                change(),
                a.get_or_set(request(number), factory, tags=tags),
                b.get_or_set(request(number), factory, tags=tags),
            )
            for cache in (a, b):
                await _gone(cache, request(number), 1)
                assert await cache.get_or_set(request(number), factory, tags=tags) == 2
    _record_race(record, "loader", size)


@sizes(300, 10_000)
async def test_s2_write_race(size: int, any_server: Server, record: Record) -> None:
    """Two processes write one key at once: afterwards both, and everybody, have the same value."""
    chance = random.Random(3)
    async with (
        live(any_server.url, **AGELESS) as a,
        live(any_server.url, **AGELESS) as b,
        live(any_server.url, l1_max_entries=0) as truth,
    ):
        for number in range(size):

            async def write(cache: Cache[Any], value: str, number: int = number) -> None:
                await _turns(chance)
                await cache.set(request(number), value)

            await asyncio.gather(write(a, "a"), write(b, "b"))
            stored = await truth.get(request(number))
            assert stored in ("a", "b")
            for cache in (a, b):
                await _gone(cache, request(number), "b" if stored == "a" else "a")
                assert await cache.get(request(number)) == stored
    _record_race(record, "write/write", size)


_outages: list[float] = []

OUTAGES: dict[str, tuple[Callable[[Server, Proxy], object], Callable[[Server, Proxy], object]]] = {
    "refused": (lambda server, link: link.refuse(), lambda server, link: link.heal()),
    "silent": (lambda server, link: link.blackhole(), lambda server, link: link.heal()),
    "frozen": (lambda server, link: server.pause(), lambda server, link: server.resume()),
}


@sizes(1, 20)
@pytest.mark.parametrize("how", OUTAGES)
async def test_s3_delete_during_an_outage(how: str, size: int, any_server: Server, link: Proxy, record: Record) -> None:
    """It raises, it is visible, this process serves nothing old meanwhile, and nobody does soon after the outage."""
    begin, end = OUTAGES[how]
    chance = random.Random(how)
    async with live(link.url, backend_timeout=0.05, write_timeout=1) as a, live(any_server.url) as b:
        for number in range(size):
            for name in ("deleted", "tagged"):
                await insist(partial(a.set, {name: number}, "old", tags=[name], required=True))
                assert await b.get({name: number}) == "old", (a.stats, b.stats)
            begin(any_server, link)
            with pytest.raises(InvalidationPending):
                await a.delete({"deleted": number})
            with pytest.raises(InvalidationPending):
                await a.invalidate_tags("tagged")
            assert a.stats.pending >= 2
            ends = time.monotonic() + chance.uniform(0.2, 2.0)
            while time.monotonic() < ends:
                for name in ("deleted", "tagged"):
                    assert await a.get({name: number}) is None
                    assert a.peek({name: number}) is None
                await asyncio.sleep(0.01)
            end(any_server, link)
            healed = time.monotonic()
            last_old = healed
            while time.monotonic() < healed + 0.8:
                for name in ("deleted", "tagged"):
                    for cache in (a, b):
                        if await cache.get({name: number}) == "old":
                            assert cache is b, "who deleted it serves it no more"
                            last_old = time.monotonic()
                await asyncio.sleep(0.002)
            await until(lambda: a.stats.pending == 0)
            for name in ("deleted", "tagged"):
                await _gone(b, {name: number}, "old")
            _outages.append(last_old - healed)
    worst = max(_outages)
    text = f"pending while it lasts; last old value {ms(worst)} after"
    record("S3", text, met=worst <= 0.5, size=f"{len(_outages)} outages")


@sizes(1, 10)
async def test_s4_silent_feed(size: int, any_server: Server, link: Proxy, record: Record) -> None:
    """A feed that brings nothing any more is found out: copies are not served a second later."""
    worst = 0.0
    for number in range(size):
        async with live(link.url, write_timeout=1) as a, live(any_server.url) as b:
            await a.set(request(number), "old")
            assert a.peek(request(number)) == "old"
            link.lose()
            await b.delete(request(number))
            deleted = time.monotonic()
            last_old = deleted
            while time.monotonic() < deleted + 1.5:
                looked = time.monotonic()
                if a.peek(request(number)) == "old":
                    last_old = looked
                await asyncio.sleep(0.001)
            link.heal()
            worst = max(worst, last_old - deleted)
            assert last_old - deleted <= 1.0
            assert await a.get(request(number)) is None
    record("S4", f"stale ≤ {ms(worst)}", met=True, size=f"{size} dead links")
