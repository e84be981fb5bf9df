"""S8: stores that go back in time: snapshots after a crash, lagging replicas promoted, a file that is put back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from cachecore import Cache
from cachecore.contract.errors import InvalidationPending
from cachecore.testing.groups import Cluster, SentinelGroup, ask
from cachecore.testing.servers import Server
from cachecore_sqlite import SQLiteBackend
from tests.conftest import SERVERS, Record
from tests.faults.callers import PATIENT, cache_at, sizes, until

_PROGRAM = SERVERS[max(SERVERS)]
KEYS = 40
LONG_AGO = 6.0
"""Seconds after which no process remembers what it invalidated."""


async def filled(cache: Cache[str]) -> None:
    for number in range(KEYS):
        assert await cache.set(f"tagged {number}", "old", tags=[f"t{number}"])
        assert await cache.set(f"deleted {number}", "old")
        assert await cache.set(f"replaced {number}", "old")


async def invalidated(cache: Cache[str]) -> None:
    for number in range(KEYS):
        await cache.invalidate_tags(f"t{number}")
        await cache.delete(f"deleted {number}")
        await cache.set(f"replaced {number}", "new")


async def came_back(cache: Cache[str]) -> int:
    """Return how many of the invalidated answers a caller gets."""
    names = [f"{kind} {number}" for kind in ("tagged", "deleted", "replaced") for number in range(KEYS)]
    return sum(value == "old" for value in await asyncio.gather(*map(cache.get, names)))


class Warnings(logging.Handler):
    """Counts the invalidations of the root that the log tells of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.roots = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.roots += "gone back in time, as" in record.getMessage()


@contextlib.contextmanager
def warnings_of() -> Iterator[Warnings]:
    handler = Warnings()
    logging.getLogger("cachecore").addHandler(handler)
    try:
        yield handler
    finally:
        logging.getLogger("cachecore").removeHandler(handler)


@pytest.mark.parametrize("seconds", [0.0, LONG_AGO], ids=["at once", "long after"])
async def test_s8_snapshot_after_a_crash(seconds: float, record: Record) -> None:
    """Killed and started from its snapshot: 0 of the answers that were invalidated since are served by who knew."""
    with Server(_PROGRAM, ["--save", "3600 1000000"]) as server, warnings_of() as warnings:
        async with (
            cache_at(server.url, l1_max_entries=0, **PATIENT) as one,
            cache_at(server.url, l1_max_entries=0, **PATIENT) as two,
        ):
            await filled(one)
            await two.get("warm")
            redis.Redis(port=server.port).save()
            await invalidated(one)
            assert await came_back(two) == 0
            await asyncio.sleep(seconds)
            server.kill()
            server.start()
            found = 0
            for _ in range(20):
                found += await came_back(one) + await came_back(two)
                await asyncio.sleep(0.05)
            async with asyncio.timeout(20):
                while not await one.set("after", "new"):  # noqa: ASYNC110 - until it has heard that the server is back
                    await asyncio.sleep(0.05)
            assert await two.get("after") == "new"
    record("S8", f"{found} came back, {warnings.roots} times everything", met=not found, size=f"{3 * KEYS} answers")
    assert found == 0
    assert warnings.roots <= 1


@sizes(1, 20)
async def test_s9_sentinel_failovers_under_invalidations(size: int, record: Record) -> None:
    """Each replica that is promoted may lag: nothing that was acknowledged comes back, and at most one root is lost."""
    found = roots = 0
    for _ in range(size):
        with SentinelGroup(_PROGRAM, down_after_ms=500) as group, warnings_of() as warnings:
            async with (
                cache_at(group.url, l1_max_entries=0, backend_timeout=1) as one,
                cache_at(group.url, l1_max_entries=0, backend_timeout=1) as two,
            ):
                await until(lambda: group.primary())
                await filled(one)
                old = group.primary()
                gone: set[int] = set()

                async def load(one: Cache[str] = one, gone: set[int] = gone) -> None:
                    for number in range(10 * KEYS):
                        name = f"deleted {number % KEYS}"
                        with contextlib.suppress(InvalidationPending):
                            if number % KEYS in gone:
                                await one.delete(name)
                            elif await one.delete(name) is not None:
                                gone.add(number % KEYS)
                        await asyncio.sleep(0.01)

                loading = asyncio.ensure_future(load())
                await until(lambda gone=gone: len(gone) > KEYS // 2)  # type: ignore[misc] # mypy infers no default of a lambda
                acknowledged = set(gone)
                old.kill()
                await loading
                await until(lambda group=group, old=old: group.primary() is not old, 60)  # type: ignore[misc] # as above
                await until(lambda one=one: one.stats.pending == 0)  # type: ignore[misc] # as above
                for cache in (one, two):
                    for number in acknowledged:
                        found += await cache.get(f"deleted {number}") == "old"
            roots += warnings.roots
            assert warnings.roots <= 1
    record("S9", f"{found} came back, everything was lost {roots} times", met=not found, size=f"{size} failovers")
    assert found == 0


async def test_s8_node_of_a_cluster_restored() -> None:
    """Each hash tag has a mark of its own: the other nodes' answers stay."""
    with Cluster(_PROGRAM, timeout_ms=60_000) as cluster:
        async with cache_at(cluster.url, l1_max_entries=0, **PATIENT) as cache:
            await filled(cache)
            for number in range(KEYS):
                await cache.set(f"kept {number}", "kept")
            for node in cluster.nodes[:3]:
                ask(node, "SAVE")
            await invalidated(cache)
            await asyncio.sleep(LONG_AGO)
            node = cluster.nodes[0]
            partition = cache._engine.partition
            assert partition is not None
            elsewhere = [
                number for number in range(KEYS) if not partition(cache.key(f"kept {number}")).endswith(f":{node.port}")
            ]
            assert elsewhere
            node.kill()
            node.start()
            await until(lambda: cache._engine.backend.states() is not None)
            found = 0
            for _ in range(20):
                found += await came_back(cache)
                await asyncio.sleep(0.05)
            assert found == 0
            kept = await asyncio.gather(*(cache.get(f"kept {number}") for number in elsewhere))
            assert kept == ["kept"] * len(elsewhere)


async def test_s8_sqlite_file_put_back(tmp_path: Path) -> None:
    """A process that goes on after its file was put back, as from a backup, serves nothing that it had invalidated."""
    path, backup = tmp_path / "cache.db", tmp_path / "backup.db"
    first = SQLiteBackend(path)
    async with Cache[str](first, ttl=600, **PATIENT) as cache:
        await filled(cache)
    await first.aclose()
    shutil.copy(path, backup)
    async with cache_at(SQLiteBackend(path), l1_max_entries=0, **PATIENT) as cache:
        await invalidated(cache)
        await asyncio.sleep(LONG_AGO)
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        shutil.copy(backup, tmp_path / "copy.db")
        (tmp_path / "copy.db").rename(path)
        found = 0
        for _ in range(20):
            found += await came_back(cache)
            await asyncio.sleep(0.02)
        assert found == 0
