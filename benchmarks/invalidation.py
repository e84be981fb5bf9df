"""The cost of invalidating 10,000 of 100,000 answers, and the time of other calls meanwhile.

    python -m benchmarks invalidation

cachecore gives up one tag; the peer deletes the keys that it keeps in a set for the tag, or those that match a pattern,
in pages.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from redis.asyncio import Redis

from benchmarks.running.results import Question, Table
from benchmarks.running.rounds import scale
from benchmarks.running.work import ANSWER, server
from cachecore import Cache

ENTRIES: Final = 100_000
PART: Final = 10
ROUNDS: Final = 5
PAGE: Final = 1000

Steps = tuple[Callable[[], Awaitable[Any]], Callable[[], Awaitable[Any]], Callable[[int], Awaitable[Any]]]
"""Store the answers of the tag again; invalidate them; read another answer."""


async def ours(url: str, entries: int) -> Steps:
    cache: Cache[Any] = Cache(url, ttl=3600, l1_max_entries=0)
    tagged, others = range(entries // PART), range(entries // PART, entries)

    async def fill(numbers: range, **options: Any) -> None:
        for first in range(numbers.start, numbers.stop, PAGE):
            page = range(first, min(first + PAGE, numbers.stop))
            await cache.set_many({f"question {number}": ANSWER for number in page}, **options)

    async def invalidate() -> None:
        await cache.invalidate_tags("tag")
        assert await cache.get("question 0") is None

    await fill(others)
    return lambda: fill(tagged, tags=["tag"]), invalidate, lambda number: cache.get(f"question {number}")


async def plain(url: str, entries: int, *, by_pattern: bool) -> Steps:
    client = Redis.from_url(url, socket_timeout=None)
    text = json.dumps(ANSWER)

    def key(number: int) -> str:
        return f"{'tag' if number < entries // PART else 'other'}:{number}"

    async def fill(numbers: range) -> None:
        for first in range(numbers.start, numbers.stop, PAGE):
            async with client.pipeline(transaction=False) as pipe:
                for number in range(first, min(first + PAGE, numbers.stop)):
                    pipe.set(key(number), text, ex=3600)
                    if number < entries // PART and not by_pattern:
                        pipe.sadd("keys of tag", key(number))
                await pipe.execute()

    async def invalidate() -> None:
        if by_pattern:
            cursor = 0
            while True:
                cursor, keys = await client.scan(cursor, match="tag:*", count=PAGE)
                if keys:
                    await client.unlink(*keys)
                if not cursor:
                    break
        else:
            keys = list(await client.smembers("keys of tag"))
            for first in range(0, len(keys), PAGE):
                await client.unlink(*keys[first : first + PAGE])
            await client.unlink("keys of tag")
        assert await client.get(key(0)) is None

    async def read(number: int) -> Any:
        found = await client.get(key(number))
        assert found is not None
        return json.loads(found)

    await fill(range(entries // PART, entries))
    return lambda: fill(range(entries // PART)), invalidate, read


@dataclass
class Taken:
    """Seconds of one contender: of invalidations, of their processor time, and of reads of other answers meanwhile."""

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    reads: list[float] = field(default_factory=list)

    def row(self) -> dict[str, Any]:
        self.reads.sort()
        return {
            "ms": round(1000 * statistics.median(self.wall), 2),
            "processor ms": round(1000 * statistics.median(self.processor), 2),
            "p99 of others, ms": round(1000 * self.reads[len(self.reads) * 99 // 100], 2),
            "reads of others": len(self.reads),
        }


async def one_round(steps: Steps, entries: int, taken: Taken) -> None:
    """Store the answers of the tag again and invalidate them, while another task reads other answers."""
    again, invalidate, read = steps
    await again()
    ended = False

    async def others() -> None:
        number = entries // PART
        while not ended:
            began = time.perf_counter()
            assert await read(number) is not None
            taken.reads.append(time.perf_counter() - began)
            number = number + 1 if number + 1 < entries else entries // PART

    reader = asyncio.create_task(others())
    await asyncio.sleep(0)
    processor, began = time.process_time(), time.perf_counter()
    await invalidate()
    taken.wall.append(time.perf_counter() - began)
    taken.processor.append(time.process_time() - processor)
    ended = True
    await reader


async def measure() -> list[Table]:
    entries = int(ENTRIES * min(1.0, scale()))
    chance = Random(1)
    with server() as url:
        base = url.removesuffix("/0")
        contenders = {
            "cachecore, invalidate_tags": await ours(f"{base}/1", entries),
            "redis-py, keys of a set": await plain(f"{base}/2", entries, by_pattern=False),
            "redis-py, keys by a pattern": await plain(f"{base}/3", entries, by_pattern=True),
        }
        taken = {name: Taken() for name in contenders}
        for _ in range(ROUNDS):
            for name in chance.sample(list(contenders), len(contenders)):
                await one_round(contenders[name], entries, taken[name])
    rows = {name: one.row() for name, one in taken.items()}
    note = "Contenders take turns on one server, each with as many answers in a database of its own."
    return [Table(f"{entries // PART:,} of {entries:,} answers on Redis", "ms", rows, note=note)]


QUESTION = Question("invalidation", "The cost of invalidating a tenth of all answers", measure, ["redis"])

if __name__ == "__main__":
    sys.exit(QUESTION.main())
