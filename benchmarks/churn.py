"""Whether memory grows while answers come and go, in a process that is full. `python -m benchmarks churn`

A minute of new answers of 0.2 to 20 KB, stored, read and replaced, in a cache of 64 MiB; each contender in a process
of its own, at the same time. What counts is the memory of the process (RSS) in the second half: how much it grew.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from random import Random
from typing import Any, Final

import cachebox
import cachetools

from benchmarks.entry_memory import resident
from benchmarks.running.results import Question, Table
from benchmarks.running.rounds import scale
from cachecore import Cache
from cachecore.store.memory_backend import MemoryBackend

SECONDS: Final = 60.0
MIB: Final = 1 << 20
LIMIT: Final = 64 * MIB
MEAN_BYTES: Final = 10_000
FILL: Final = 3 * LIMIT // (2 * MEAN_BYTES)
SAMPLE: Final = 0.5


def answers() -> Any:
    chance = Random(1)
    number = 0
    while True:
        number += 1
        yield f"question {number}", {"content": chance.randbytes(chance.randint(100, 10_000)).hex()}


async def ours(seconds: float, took: list[int]) -> int:
    async with Cache[Any](MemoryBackend(max_bytes=LIMIT), ttl=60, l1_max_bytes=LIMIT // 4) as cache:
        return await run(cache.set, cache.get, seconds, took)


async def of_mapping(mapping: Any, seconds: float, took: list[int]) -> int:
    async def put(name: str, value: Any) -> None:
        mapping[name] = value

    async def get(name: str) -> Any:
        return mapping.get(name)

    return await run(put, get, seconds, took)


async def run(put: Any, get: Any, seconds: float, took: list[int]) -> int:
    """Fill the cache, store and read for `seconds`, and note the memory twice a second; return how many were stored."""
    sampled, count, end = 0.0, 0, float("inf")
    for name, value in answers():
        await put(name, value)
        await get(name)
        count += 1
        now = time.monotonic()
        if count < FILL:
            continue
        if count == FILL:
            end = now + seconds
        if now - sampled > SAMPLE:
            took.append(resident())
            sampled = now
        if now > end:
            return count - FILL
    return 0


CONTENDERS: Final[dict[str, Any]] = {
    "cachecore": ours,
    "cachetools": lambda seconds, took: of_mapping(cachetools.TTLCache(LIMIT // MEAN_BYTES, 60), seconds, took),
    "cachebox": lambda seconds, took: of_mapping(cachebox.LRUCache(LIMIT // MEAN_BYTES), seconds, took),
}


async def one(name: str, seconds: float) -> None:
    took: list[int] = []
    stored = await CONTENDERS[name](seconds, took)
    half = took[len(took) // 2 :]
    found = {
        "grown in the second half, MiB": round((half[-1] - half[0]) / MIB, 1),
        "at the end, MiB": round(half[-1] / MIB, 1),
        "at most, MiB": round(max(took) / MIB, 1),
        "answers stored": stored,
    }
    print(json.dumps(found))


async def measure() -> list[Table]:
    seconds = SECONDS * scale()
    started = {
        name: subprocess.Popen(
            [sys.executable, "-m", "benchmarks.churn", name, str(seconds)], stdout=subprocess.PIPE, text=True
        )
        for name in CONTENDERS
    }
    said = {name: process.communicate()[0] for name, process in started.items()}
    rows = {name: json.loads(found) for name, found in said.items()}
    return [Table(f"{seconds:g} s of churn in 64 MiB", "at the end, MiB", rows)]


QUESTION = Question("churn", "Does memory grow while answers come and go?", measure, ["cachetools", "cachebox"])

if __name__ == "__main__":
    if len(sys.argv) == 3:
        asyncio.run(one(sys.argv[1], float(sys.argv[2])))
        sys.exit(0)
    sys.exit(QUESTION.main())
