"""The cost of `set_many` and `get_many` on Redis, in a file and in memory, beside single calls and the stores alone.

    python -m benchmarks batches

A batch of writes has 1,000 answers of 1.7 KB, one of reads 100. redis-py sends a pipeline of SETs or one MGET, with
`json`; diskcache writes in one transaction.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from contextlib import AsyncExitStack
from typing import Any, Final

import diskcache
from redis.asyncio import Redis

from benchmarks.running.results import Question, Table, of_samples
from benchmarks.running.rounds import Samples, Turn, interleaved
from benchmarks.running.work import ANSWER, server
from cachecore import Cache
from cachecore_redis import RedisBackend

WRITTEN: Final = 1000
READ: Final = 100
NAMES: Final = [f"question {number}" for number in range(WRITTEN)]
ANSWERS: Final = dict.fromkeys(NAMES, ANSWER)
TEXT: Final = json.dumps(ANSWER).encode()


def writes_of(cache: Cache[Any]) -> Turn:
    async def turn() -> int:
        await cache.set_many(ANSWERS)
        return WRITTEN

    return turn


def reads_of(cache: Cache[Any], *, gathered: bool) -> Turn:
    """Return a turn that reads all answers, a hundred at once; `gathered` by as many calls of `get`."""

    async def turn() -> int:
        for first in range(0, WRITTEN, READ):
            names = NAMES[first : first + READ]
            found = await asyncio.gather(*map(cache.get, names)) if gathered else await cache.get_many(names)
            assert len(found) == READ
        return WRITTEN

    return turn


def pipelined(client: Redis) -> Turn:
    async def turn() -> int:
        async with client.pipeline(transaction=False) as pipe:
            for name, answer in ANSWERS.items():
                pipe.set(name, json.dumps(answer), ex=3600)
            await pipe.execute()
        return WRITTEN

    return turn


def one_by_one(client: Redis) -> Turn:
    async def turn() -> int:
        for name, answer in ANSWERS.items():
            await client.set(name, json.dumps(answer), ex=3600)
        return WRITTEN

    return turn


def of_backend(backend: RedisBackend) -> Turn:
    stored = dict.fromkeys(NAMES, TEXT)

    async def turn() -> int:
        await backend.set_many(stored, ttl=3600)
        return WRITTEN

    return turn


def mget(client: Redis) -> Turn:
    async def turn() -> int:
        for first in range(0, WRITTEN, READ):
            found = await client.mget(NAMES[first : first + READ])
            assert all(json.loads(one or "") for one in found)
        return WRITTEN

    return turn


def in_transaction(disk: Any) -> Turn:
    async def turn() -> int:
        with disk.transact():
            for name, answer in ANSWERS.items():
                disk.set(name, answer, expire=3600)
        return WRITTEN

    return turn


def loop_of_gets(disk: Any) -> Turn:
    async def turn() -> int:
        for name in NAMES:
            assert disk.get(name) is not None
        return WRITTEN

    return turn


def written(title: str, samples: Samples, base: str) -> Table:
    """Return the table of writes, with the milliseconds of a whole batch."""
    table = of_samples(title, samples, base, note=f"µs are those of one answer, ms those of all {WRITTEN:,}.")
    for row in table.rows.values():
        row[f"wall ms of {WRITTEN:,}"] = round(row["wall µs"] * WRITTEN / 1000, 2)
    return table


async def on_redis(stack: AsyncExitStack) -> list[Table]:
    base = stack.enter_context(server()).removesuffix("/0")
    client = await stack.enter_async_context(Redis.from_url(f"{base}/1", socket_timeout=None))
    backend = RedisBackend(f"{base}/2")
    stack.push_async_callback(backend.aclose)
    cold = await stack.enter_async_context(Cache[Any](f"{base}/3", ttl=3600, l1_max_entries=0))
    warm = await stack.enter_async_context(Cache[Any](f"{base}/4", ttl=3600))
    writes = {
        "cachecore set_many": writes_of(warm),
        "cachecore set_many, no copies in memory": writes_of(cold),
        "bytes by our backend": of_backend(backend),
        "redis-py, a pipeline": pipelined(client),
        "redis-py, one by one": one_by_one(client),
    }
    tables = [
        written("set_many of 1,000 on Redis", await interleaved(writes, seconds=12), "redis-py, a pipeline"),
    ]
    reads = {
        "cachecore get_many, no copies in memory": reads_of(cold, gathered=False),
        "cachecore gathered gets, no copies in memory": reads_of(cold, gathered=True),
        "redis-py, MGET": mget(client),
    }
    samples = await interleaved(reads, seconds=8)
    return [*tables, of_samples("get_many of 100 on Redis, for each key", samples, "redis-py, MGET")]


async def in_a_file(stack: AsyncExitStack) -> list[Table]:
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    cache = Cache[Any](f"sqlite:///{folder}/answers.db", ttl=3600, l1_max_entries=0, write_timeout=10)
    await stack.enter_async_context(cache)
    disk = stack.enter_context(diskcache.Cache(f"{folder}/diskcache"))
    writes = {"cachecore set_many": writes_of(cache), "diskcache, a transaction": in_transaction(disk)}
    reads = {
        "cachecore get_many": reads_of(cache, gathered=False),
        "cachecore gathered gets": reads_of(cache, gathered=True),
        "diskcache, gets in a loop": loop_of_gets(disk),
    }
    return [
        written("set_many of 1,000 in a file", await interleaved(writes, seconds=8), "diskcache, a transaction"),
        of_samples(
            "get_many of 100 in a file, for each key",
            await interleaved(reads, seconds=8),
            "diskcache, gets in a loop",
        ),
    ]


async def in_memory(stack: AsyncExitStack) -> list[Table]:
    cache = await stack.enter_async_context(Cache[Any]("memory://", ttl=3600, l1_max_age=3600))
    await cache.set_many(ANSWERS)
    reads = {
        "cachecore get_many": reads_of(cache, gathered=False),
        "cachecore gathered gets": reads_of(cache, gathered=True),
    }
    samples = await interleaved(reads, seconds=6)
    return [of_samples("get_many of 100 in memory, for each key", samples, "cachecore gathered gets")]


async def measure() -> list[Table]:
    tables = []
    for part in (on_redis, in_a_file, in_memory):
        async with AsyncExitStack() as stack:
            tables += await part(stack)
    return tables


QUESTION = Question("batches", "The cost of set_many and get_many", measure, ["redis", "diskcache"])

if __name__ == "__main__":
    sys.exit(QUESTION.main())
