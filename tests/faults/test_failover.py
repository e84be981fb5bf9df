"""A6, A7: stores of several nodes, of which one freezes, dies or is replaced."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

from cachecore.contract.errors import InvalidationPending
from cachecore.testing.groups import Cluster, SentinelGroup
from tests.conftest import SERVERS, Record
from tests.faults.callers import Tally, answer, ask, cache_at, filled, request, sizes, until
from tests.faults.reliability import ms

_PROGRAM = SERVERS[max(SERVERS)]


@sizes(300, 3000)
async def test_a6_one_node_frozen(size: int, record: Record) -> None:
    """Keys of the other nodes are served as if nothing had happened; the frozen node's are computed."""
    with Cluster(_PROGRAM, timeout_ms=60_000) as cluster:  # so patient that nobody takes its place
        # A healthy node on a busy machine answers later than a deadline now and then: the short run has more time.
        async with cache_at(cluster.url, l1_max_entries=0, backend_timeout=1 if size == 300 else 0.05) as cache:
            await filled(cache)
            partition = cache._engine.partition
            assert partition is not None
            frozen = cluster.nodes[0]
            places = [partition(cache.key(request(number))) for number in range(50)]
            healthy = [number for number in range(50) if not places[number].endswith(f":{frozen.port}")]
            sick = [number for number in range(50) if number not in healthy]
            assert healthy
            assert sick
            frozen.pause()
            well, ill = Tally(), Tally()
            async with asyncio.timeout(60):
                for turn in range(size):
                    await asyncio.gather(
                        ask(cache, healthy[turn % len(healthy)], well), ask(cache, sick[turn % len(sick)], ill)
                    )
            frozen.resume()
            well.clean()
            ill.clean()
            assert well.factory_calls == 0, "they were all in the store"
            assert ill.factory_calls == size
            text = f"healthy nodes' keys p99 {ms(well.p99())}, max {ms(max(well.seconds))}; 0 errors"
            record("A6", text, met=max(well.seconds) <= 0.1, size=f"{size:,} calls each")
            again = Tally()
            limit = time.monotonic() + 20
            while cache.stats.stored == 0 or again.factory_calls == again.calls:
                assert time.monotonic() < limit
                await ask(cache, sick[0], again)
                await asyncio.sleep(0.01)


_failovers: list[float] = []


@sizes(1, 3)
@pytest.mark.parametrize("how", ["killed", pytest.param("frozen", marks=pytest.mark.soak)])
async def test_a7_sentinel_failover(how: str, size: int, record: Record) -> None:
    """Nobody gets an error while Sentinels promote a replica, and the store is used again soon after."""
    for _ in range(size):
        with SentinelGroup(_PROGRAM, down_after_ms=500) as group:
            async with cache_at(group.url, l1_max_entries=0) as cache:
                await filled(cache)
                tally = Tally()
                going = True
                used: list[float] = []

                async def load(tally: Tally = tally, used: list[float] = used) -> None:
                    number = 0
                    while going:  # noqa: B023 - ends with its turn
                        number += 1
                        before = cache.stats.stored
                        await ask(cache, 1000 + number, tally)
                        if cache.stats.stored > before:
                            used.append(time.monotonic())
                        with contextlib.suppress(InvalidationPending):
                            await cache.delete(request(number % 50))
                        await asyncio.sleep(0.005)

                loading = asyncio.ensure_future(load())
                old = group.primary()
                await until(lambda used=used: used)  # type: ignore[misc] # mypy infers no default of a lambda
                old.kill() if how == "killed" else old.pause()
                fell = time.monotonic()
                while await asyncio.to_thread(group.primary) is old:
                    assert time.monotonic() < fell + 60
                    await asyncio.sleep(0.01)
                promoted = time.monotonic()
                await until(lambda used=used, promoted=promoted: used[-1] > promoted)  # type: ignore[misc] # mypy infers no default of a lambda
                first = next(moment for moment in used if moment > fell + 0.3)
                _failovers.append(max(0.0, first - promoted))
                going = False
                await loading
                tally.clean()
                await until(lambda: cache.stats.pending == 0)
                assert await cache.get_or_set(request(7), lambda: _later(7)) == answer(7)
    text = f"0 errors, used again {ms(max(_failovers))} after the promotion"
    record("A7", text, met=max(_failovers) <= 1, size=f"{len(_failovers)} failovers")


async def _later(number: int) -> dict[str, object]:
    return answer(number)
