"""A stream with a thousand readers, beside the least that any fan-out does: one asyncio queue for each reader.

    python -m benchmarks streams

Both are timed in turn, round after round, so that a busy machine slows both alike. The clock of a chunk starts where
its producer makes it and stops where a reader has it: all readers are there before the first chunk is made. The memory
of a reader is what a thousand more of them take, their tasks included, with the buffer left out.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import sys
import time
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any, Final

from benchmarks.running.results import Question, Table
from benchmarks.running.rounds import scale
from cachecore import Cache

READERS: Final = 1000
CHUNKS: Final = 20
ROUNDS: Final = 31
CHUNK: Final = "a few words of an answer "

Delays = list[list[float]]
"""For each chunk, for each reader, the seconds until it had it."""


class Clock:
    """When each chunk was made, and when each reader had it."""

    def __init__(self) -> None:
        self.made: list[float] = []
        self.had: Delays = [[] for _ in range(CHUNKS)]
        self.producers = 0

    def delays(self) -> Delays:
        assert self.producers == 1
        assert all(len(had) == READERS for had in self.had)
        return [[at - made for at in had] for made, had in zip(self.made, self.had, strict=True)]


async def turns(many: int) -> None:
    """Let everything that is ready go on, until all wait."""
    for _ in range(many):
        await asyncio.sleep(0)


async def with_queues() -> Delays:
    """One producer that puts each chunk into the queue of every reader."""
    clock = Clock()
    queues: list[asyncio.Queue[str]] = [asyncio.Queue() for _ in range(READERS)]

    async def reader(queue: asyncio.Queue[str]) -> None:
        for had in clock.had:
            await queue.get()
            had.append(time.perf_counter())

    readers = [asyncio.ensure_future(reader(queue)) for queue in queues]
    await turns(20)
    clock.producers += 1
    for _ in range(CHUNKS):
        clock.made.append(time.perf_counter())
        for queue in queues:
            queue.put_nowait(CHUNK)
        await turns(20)
    await asyncio.gather(*readers)
    return clock.delays()


async def with_a_cache() -> Delays:
    """One stream of a cache that all readers share."""
    clock = Clock()
    asked, begin = asyncio.Event(), asyncio.Event()

    async def produce() -> AsyncIterator[str]:
        clock.producers += 1
        asked.set()
        await begin.wait()
        for _ in range(CHUNKS):
            clock.made.append(time.perf_counter())
            yield CHUNK
            await turns(20)

    async with Cache("memory://", ttl=60) as cache:

        async def reader() -> None:
            place = 0
            async for _ in cache.stream("q", produce, assemble="".join, replay=str.split):
                clock.had[place].append(time.perf_counter())
                place += 1

        readers = [asyncio.ensure_future(reader()) for _ in range(READERS)]
        await asked.wait()
        await turns(20)
        begin.set()
        await asyncio.gather(*readers)
    return clock.delays()


async def memory_of_readers() -> tuple[float, int]:
    """Return the bytes that each of a thousand readers takes, and those of the buffer they share."""
    begin, go_on = asyncio.Event(), asyncio.Event()
    chunks = 2000
    texts = [f"{number:1000}" for number in range(chunks)]
    buffer = sum(map(sys.getsizeof, texts))

    async def produce() -> AsyncIterator[str]:
        for number, text in enumerate(texts):
            if number == 1:
                begin.set()
                await go_on.wait()
            yield text

    async with Cache("memory://", ttl=60) as cache:

        async def reader() -> int:
            stream: Any = cache.stream("q", produce, assemble="".join, replay=list)
            return len([chunk async for chunk in stream])

        first = asyncio.ensure_future(reader())
        await begin.wait()
        await turns(20)
        gc.collect()
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        readers = [asyncio.ensure_future(reader()) for _ in range(READERS)]
        while cache.stats.joined < READERS:
            await turns(5)
        await turns(50)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        go_on.set()
        assert await asyncio.gather(first, *readers) == [chunks] * (READERS + 1)
        assert cache.stats.factory_calls == 1
    return (after - before) / READERS, buffer


async def measure() -> list[Table]:
    times: dict[str, dict[str, list[float]]] = {}
    for _ in range(max(3, round(ROUNDS * scale()))):
        rounds = {"queues": await with_queues(), "stream": await with_a_cache()}
        for what, chosen in (("first chunk", slice(0, 1)), ("later chunks", slice(1, None))):
            for part, pick in (("median reader", statistics.median), ("last reader", max)):
                both = {
                    name: statistics.median(pick(readers) for readers in delays[chosen])
                    for name, delays in rounds.items()
                }
                row = times.setdefault(f"{what}, {part}", {"queues": [], "stream": [], "ratio": []})
                for name, seconds in both.items():
                    row[name].append(seconds)
                row["ratio"].append(both["stream"] / both["queues"])
    each, buffer = await memory_of_readers()
    rows = {
        name: {
            "stream ms": round(1000 * statistics.median(row["stream"]), 2),
            "queues ms": round(1000 * statistics.median(row["queues"]), 2),
            "×": round(statistics.median(row["ratio"]), 2),
            "× at most": round(max(row["ratio"]), 2),
        }
        for name, row in times.items()
    }
    memory = {"a reader": {"bytes": round(each)}, "the buffer that all share": {"bytes": buffer}}
    return [
        Table(f"a stream with {READERS:,} readers, beside a queue for each", "×", rows),
        Table("the memory of a stream", "bytes", memory),
    ]


QUESTION = Question("streams", "The time and memory of a stream with a thousand readers", measure)

if __name__ == "__main__":
    sys.exit(QUESTION.main())
