"""Whether calls slow down from 1,000 to 1,000,000 entries, in memory and on Redis. `python -m benchmarks growth`

Answers are short, so that a million of them fit. A dict and redis-py grow beside: what they lose is the machine's.
"""

from __future__ import annotations

import json
import sys
from random import Random
from typing import Any, Final

from redis.asyncio import Redis

from benchmarks.running.results import Question, Table, of_samples
from benchmarks.running.rounds import Turn, interleaved, scale
from benchmarks.running.work import at_once, server
from cachecore import Cache
from cachecore.store.memory_backend import MemoryBackend

SIZES: Final = (1_000, 10_000, 100_000, 1_000_000)
PAGE: Final = 1000
READS: Final = 1000
MOST_BYTES: Final = 4 << 30


def key(number: int) -> str:
    return f"question {number}"


async def grow(cache: Cache[Any], client: Redis | None, known: dict[str, Any], first: int, last: int) -> None:
    for start in range(first, last, PAGE):
        page = {key(number): {"answer": number} for number in range(start, min(start + PAGE, last))}
        await cache.set_many(page)
        if client is None:
            known.update(page)
        else:
            await client.mset({name: json.dumps(value) for name, value in page.items()})


async def sizes(cache: Cache[Any], client: Redis | None, where: str) -> list[Table]:
    tables = []
    known: dict[str, Any] = {}
    before = 0
    most = SIZES[-1] if scale() >= 1 else SIZES[-2]
    for size in SIZES:
        if size > most:
            break
        await grow(cache, client, known, before, size)
        before = size
        numbers = Random(2).choices(range(size), k=READS)

        async def ours(number: int) -> None:
            assert await cache.get(key(number)) is not None

        async def theirs(number: int) -> None:
            if client is None:
                assert known[key(number)]
            else:
                assert json.loads(await client.get(key(number)) or "")

        turns: dict[str, Turn] = {
            "cachecore": at_once(ours, numbers, 16),
            "a dict" if client is None else "redis-py": at_once(theirs, numbers, 16),
        }
        samples = await interleaved(turns, seconds=2, most_rounds=15)
        tables.append(of_samples(f"{where}, a hit among {size:,} entries, 16 at once", samples))
    return tables


async def measure() -> list[Table]:
    store, entries = MemoryBackend(max_bytes=MOST_BYTES), SIZES[-1]
    async with Cache[Any](store, ttl=36_000, l1_max_bytes=MOST_BYTES, l1_max_entries=entries) as cache:
        tables = await sizes(cache, None, "memory")
    with server() as url:
        base = url.removesuffix("/0")
        client = Redis.from_url(f"{base}/1", socket_timeout=None, max_connections=300)
        async with Cache[Any](f"{base}/2", ttl=36_000, l1_max_entries=0) as cache:
            tables += await sizes(cache, client, "Redis")
        await client.aclose()
    return tables


QUESTION = Question("growth", "Do calls slow down as entries become more?", measure, ["redis"])

if __name__ == "__main__":
    sys.exit(QUESTION.main())
