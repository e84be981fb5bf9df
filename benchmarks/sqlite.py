"""Scans, feeds and processes that write at once, on a file of SQLite. `python -m benchmarks sqlite`

Values are 1.7 KB, keys are digests. The cost of single reads and writes is measured by `disk_calls`, that of batches by
`batches`.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import statistics
import sys
import tempfile
import time
from typing import Any, Final

from benchmarks.running.results import Question, Table
from benchmarks.running.rounds import scale, spread
from cachecore_sqlite import SQLiteBackend

VALUE: Final = os.urandom(1700)
ROUNDS: Final = 7
PAGE: Final = 250
ENTRIES: Final = 100_000
FOUND: Final = 100
PROCESSES: Final = 4
TASKS: Final = 8
WRITES: Final = 250
WATCHED: Final = 3.0
"""Seconds for which a feed is idle."""
OURS: Final = """
import asyncio, sys
from cachecore_sqlite import SQLiteBackend
async def main():
    backend = SQLiteBackend(sys.argv[1])
    await backend.get_many(["k"])
    print(flush=True)
    sys.stdin.readline()
    async def write(task):
        failed = 0
        for number in range(WRITES):
            try:
                await backend.set_many({f"{sys.argv[2]}:{task}:{number:050d}": bytes(1700)}, ttl=60)
            except Exception:
                failed += 1
        return failed
    errors = sum(await asyncio.gather(*(write(task) for task in range(TASKS))))
    print(errors, flush=True)
    await backend.aclose()
asyncio.run(main())
"""
THEIRS: Final = """
import sys, diskcache
cache = diskcache.Cache(sys.argv[1])
cache.get("k")
print(flush=True)
sys.stdin.readline()
failed = 0
for task in range(TASKS):
    for number in range(WRITES):
        try:
            cache.set(f"{sys.argv[2]}:{task}:{number:050d}", bytes(1700), expire=60)
        except Exception:
            failed += 1
print(failed, flush=True)
cache.close()
"""


def key_of(*parts: object) -> str:
    """Return a key as a cache makes them: a digest, so that neighbours in time are none in the index."""
    return "p:e:" + hashlib.sha256(repr(parts).encode()).hexdigest()


async def scan(folder: str) -> Table:
    """Return how long it takes to find a hundred keys by their beginning among all entries."""
    entries = max(10_000, round(ENTRIES * min(1.0, scale())))
    backend = SQLiteBackend(f"{folder}/scanned.db")
    for start in range(0, entries, PAGE):
        keys = [key_of(start, number) for number in range(start, start + PAGE)]
        await backend.set_many(dict.fromkeys(keys, VALUE), ttl=600)
    await backend.set_many({f"q:e:{key_of(number)}": VALUE for number in range(FOUND)}, ttl=600)
    took = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        found = sum([len(page) async for page in backend.scan("q:")])
        took.append(1000 * (time.perf_counter() - began))
        assert found == FOUND
    await backend.aclose()
    row = {"ms": round(statistics.median(took), 1), "± %": round(100 * spread(took), 1)}
    return Table(f"a scan that finds {FOUND} of {entries:,} entries", "ms", {"cachecore_sqlite": row})


async def writing(program: str, path: str) -> dict[str, Any]:
    """Return the rate and the errors of four processes that write at once."""
    text = program.replace("WRITES", str(WRITES)).replace("TASKS", str(TASKS))
    pipe = asyncio.subprocess.PIPE
    programs = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", text, path, name, stdin=pipe, stdout=pipe)
        for name in "abcdefgh"[:PROCESSES]
    ]
    for one in programs:
        assert one.stdout is not None
        await one.stdout.readline()
    began = time.perf_counter()

    async def written(one: asyncio.subprocess.Process) -> int:
        assert one.stdin is not None
        assert one.stdout is not None
        one.stdin.write(b"go\n")
        return int(await one.stdout.readline())

    errors = await asyncio.gather(*map(written, programs))
    took = time.perf_counter() - began
    for one in programs:
        await one.communicate()
    return {"writes a second": round(PROCESSES * TASKS * WRITES / took), "errors": sum(errors)}


async def four_processes(folder: str) -> Table:
    rows = {
        "cachecore_sqlite": await writing(OURS, f"{folder}/four.db"),
        "diskcache": await writing(THEIRS, f"{folder}/four"),
    }
    title = f"{PROCESSES} processes that write {TASKS * WRITES:,} values each"
    return Table(title, "writes a second", rows, lower_is_better=False)


async def idle_feed(folder: str) -> Table:
    """Return the cost of a feed while nothing happens."""
    backend = SQLiteBackend(f"{folder}/cache.db")
    feed = backend.feed("p:")
    await anext(feed)
    computed, began = time.process_time(), time.perf_counter()
    while time.perf_counter() < began + WATCHED:
        await anext(feed)
    percent = 100 * (time.process_time() - computed) / (time.perf_counter() - began)
    await backend.aclose()
    row = {"% of a core": round(percent, 2)}
    return Table("a feed while nothing happens", "% of a core", {"cachecore_sqlite": row})


async def measure() -> list[Table]:
    with tempfile.TemporaryDirectory(prefix="cachecore-bench-") as folder:
        return [await scan(folder), await four_processes(folder), await idle_feed(folder)]


QUESTION = Question("sqlite", "The cost of scans, feeds and concurrent processes on SQLite", measure, ["diskcache"])

if __name__ == "__main__":
    sys.exit(QUESTION.main())
