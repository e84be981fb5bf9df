"""What the SQLite backend costs, beside diskcache and a bare prepared statement on a warm connection.

    python -m benchmarks.sqlite          # prints a table, writes benchmarks/results/sqlite.json

All contenders take turns, round after round, so that a busy machine slows all alike; ratios are medians of those within
a round. Values are 1.7 KB, keys 70 characters. `bare` is one prepared SELECT from a plain table of keys and values, on
a connection that is open, in a thread: what no asyncio program can do without. diskcache writes twice: in a plain loop
in one thread, and as an asyncio program uses it, each `set` awaited through a pool of one thread, from 256 tasks. Keys
are made beforehand.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import platform
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import diskcache

from cachecore_sqlite import SQLiteBackend

RESULTS = Path(__file__).parent / "results" / "sqlite.json"
VALUE = os.urandom(1700)
KEYS = [f"p:e:{number:066d}" for number in range(4000)]
ROUNDS = 7
REST_SECONDS = 0.2
READS = 400
TURN = 10
WRITES = 2000
SELECT = "SELECT value FROM plain WHERE key = ?"
WRITER = """
import asyncio, sys
from cachecore_sqlite import SQLiteBackend
async def main():
    backend = SQLiteBackend(sys.argv[1])
    await backend.get_many(["k"])
    sys.stdin.readline()
    async def write(task):
        failed = 0
        for number in range(250):
            try:
                await backend.set_many({f"{sys.argv[2]}:{task}:{number:050d}": bytes(1700)}, ttl=60)
            except Exception:
                failed += 1
        return failed
    errors = sum(await asyncio.gather(*(write(task) for task in range(8))))
    await backend.aclose()
    print(errors)
asyncio.run(main())
"""


async def _p50(start: int, *calls: Callable[[str], Awaitable[Any]]) -> list[float]:
    """Return the median of each call; they take turns, `TURN` calls each.

    A hop to another core costs twice one on the same, so long turns would catch either. What comes after another
    thread's turn finds little at hand, so the first call of a turn is not counted.
    """
    took: list[list[float]] = [[] for _ in calls]
    for turn in range(READS // TURN):
        for call, seconds in zip(calls, took, strict=True):
            for number in range(turn * TURN, turn * TURN + TURN + 1):
                key = KEYS[(start + number * 7) % len(KEYS)]
                begun = time.perf_counter()
                await call(key)
                seconds.append(time.perf_counter() - begun)
            del seconds[-TURN - 1]
    return [statistics.median(seconds) for seconds in took]


async def _rate(count: int, work: Awaitable[Any]) -> float:
    begun = time.perf_counter()
    await work
    return count / (time.perf_counter() - begun)


async def reads(folder: str, backend: SQLiteBackend, pool: ThreadPoolExecutor) -> dict[str, float]:
    """Return the p50 of one read, and the rates of many. What ours is compared with runs in `pool`, of one thread."""
    loop = asyncio.get_running_loop()
    connection = _plain(f"{folder}/plain.db")
    disk = diskcache.Cache(f"{folder}/disk")
    for key in KEYS[:1000]:
        disk.set(key, VALUE, expire=600)

    def select(key: str) -> Any:
        return connection.execute(SELECT, (key,)).fetchone()

    rows: list[dict[str, float]] = []
    for round_ in range(ROUNDS):
        bare, ours, other = await _p50(
            round_,
            lambda key: loop.run_in_executor(pool, select, key),
            lambda key: backend.get_many([key]),
            lambda key: loop.run_in_executor(pool, disk.get, KEYS[hash(key) % 1000]),
        )
        keys = KEYS[round_ * 100 : round_ * 100 + 100]

        async def one_by_one(keys: list[str] = keys) -> None:
            for key in keys:
                await backend.get_many([key])

        single = await _rate(100, one_by_one())
        together = await _rate(100, asyncio.gather(*(backend.get_many([key]) for key in keys)))
        many = statistics.median([await _rate(100, backend.get_many(keys)) for _ in range(9)])
        rows.append(
            {
                "bare_select_and_hop_us": bare * 1e6,
                "ours_us": ours * 1e6,
                "diskcache_and_hop_us": other * 1e6,
                "ours_over_bare": ours / bare,
                "get_many_100_over_100_gets": many / single,
                "get_many_100_over_100_gets_at_once": many / together,
            }
        )
    connection.close()
    disk.close()
    return _medians(rows)


def _plain(path: str) -> sqlite3.Connection:
    """Return a connection to a file with all keys and values, as one makes it who has read no more than the manual."""
    connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE plain(key TEXT PRIMARY KEY, value BLOB)")
    with connection:
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO plain VALUES (?, ?)", ((key, VALUE) for key in KEYS))
    return connection


async def writes(folder: str, backend: SQLiteBackend) -> dict[str, float]:
    """Return the sustained rates of single sets."""
    disk = diskcache.Cache(f"{folder}/disk")
    pool = ThreadPoolExecutor(1)
    loop = asyncio.get_running_loop()

    def theirs(keys: list[str]) -> None:
        for key in keys:
            disk.set(key, VALUE, expire=600)

    async def awaited(key: str) -> None:
        await loop.run_in_executor(pool, partial(disk.set, key, VALUE, expire=600))

    async def ours(key: str) -> None:
        await backend.set_many({key: VALUE}, ttl=600)

    async def from_tasks(tasks: int, keys: list[str], write: Callable[[str], Awaitable[None]]) -> None:
        async def task(number: int) -> None:
            for key in keys[number::tasks]:
                await write(key)

        await asyncio.gather(*(task(number) for number in range(tasks)))

    async def in_batches(keys: list[str]) -> None:
        for start in range(0, len(keys), 250):
            await backend.set_many(dict.fromkeys(keys[start : start + 250], VALUE), ttl=600)

    rows: list[dict[str, float]] = []
    for round_ in range(ROUNDS):
        keys = [_key(round_, number) for number in range(4 * WRITES)]
        await asyncio.sleep(REST_SECONDS)
        other = await _rate(WRITES // 4, asyncio.to_thread(theirs, keys[: WRITES // 4]))
        other_awaited = await _rate(WRITES // 2, from_tasks(256, keys[WRITES : WRITES + WRITES // 2], awaited))
        one = await _rate(WRITES // 4, from_tasks(1, keys[: WRITES // 4], ours))
        some = await _rate(WRITES, from_tasks(16, [key[:-1] + "." for key in keys[:WRITES]], ours))
        much = await _rate(4 * WRITES, from_tasks(256, [key[:-1] + ":" for key in keys], ours))
        batches = await _rate(4 * WRITES, in_batches(keys))
        rows.append(
            {
                "diskcache_per_s": other,
                "diskcache_256_tasks_per_s": other_awaited,
                "ours_1_task_per_s": one,
                "ours_16_tasks_per_s": some,
                "ours_256_tasks_per_s": much,
                "ours_set_many_250_per_s": batches,
                "ours_1_over_diskcache": one / other,
                "ours_16_over_diskcache": some / other,
                "ours_256_over_diskcache": much / other,
                "ours_set_many_over_diskcache": batches / other,
                "ours_256_over_diskcache_256_tasks": much / other_awaited,
                "ours_set_many_over_diskcache_256_tasks": batches / other_awaited,
            }
        )
    await loop.run_in_executor(pool, disk.close)  # a connection for each thread
    disk.close()
    pool.shutdown()
    return _medians(rows)


async def scan(folder: str) -> dict[str, float]:
    """Return how long it takes to find a hundred keys by their beginning among a hundred thousand entries."""
    backend = SQLiteBackend(f"{folder}/scanned.db")
    for start in range(0, 100_000, 250):
        names = ("q:e:" if number % 1000 == 0 else "p:e:" for number in range(start, start + 250))
        keys = [name + _key(start, number)[4:] for number, name in enumerate(names)]
        await backend.set_many(dict.fromkeys(keys, VALUE), ttl=600)
    took = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        found = sum([len(page) async for page in backend.scan("q:")])
        took.append(time.perf_counter() - begun)
        if found != 100:
            raise AssertionError(f"the scan found {found} of 100 keys")
    await backend.aclose()
    return {"100_of_100_000_entries_ms": statistics.median(took) * 1e3}


async def four_processes(folder: str) -> dict[str, float]:
    """Return the rate and the errors of four processes that write at once."""
    programs = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            WRITER,
            f"{folder}/four.db",
            name,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        for name in "abcd"
    ]
    begun = time.perf_counter()
    told = await asyncio.gather(*(program.communicate(b"go\n") for program in programs))
    took = time.perf_counter() - begun
    return {"errors": float(sum(int(out) for out, _ in told)), "writes_per_s_with_start": 8000 / took}


async def idle_feed(folder: str) -> dict[str, float]:
    """Return what listening costs while nothing happens, in percent of one core."""
    backend = SQLiteBackend(f"{folder}/cache.db")
    feed = backend.feed("p:")
    await anext(feed)
    cpu, begun = time.process_time(), time.perf_counter()
    while time.perf_counter() < begun + 3:
        await anext(feed)
    percent = 100 * (time.process_time() - cpu) / (time.perf_counter() - begun)
    await backend.aclose()
    return {"feed_idle_percent_of_a_core": percent}


def _key(*parts: object) -> str:
    """Return a key as a cache makes them: a digest, so that neighbours in time are none in the index."""
    return "p:e:" + hashlib.sha256(repr(parts).encode()).hexdigest()


def _medians(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(row[name] for row in rows) for name in rows[0]}


async def reads_on(folder: str, threads: int, loop: int) -> dict[str, float]:
    """Return the same as `reads`, with all threads on the core `threads` and the event loop on the core `loop`.

    So nothing is left to the chance that lies in which core a thread wakes up on.
    """
    os.mkdir(f"{folder}/{threads}-{loop}")
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {threads})  # this thread, and those that it starts
        backend = SQLiteBackend(f"{folder}/cache.db")
        with ThreadPoolExecutor(1) as pool:
            pool.submit(int).result()
            await asyncio.gather(*(backend.get_many(KEYS[:1]) for _ in range(8)))
            os.sched_setaffinity(0, {loop})
            found = await reads(f"{folder}/{threads}-{loop}", backend, pool)
        await backend.aclose()
    finally:
        os.sched_setaffinity(0, allowed)
    return found


async def measure() -> dict[str, dict[str, float]]:
    with tempfile.TemporaryDirectory(prefix="cachecore-bench-") as folder:
        backend = SQLiteBackend(f"{folder}/cache.db")
        await backend.set_many(dict.fromkeys(KEYS, VALUE), ttl=600)
        with ThreadPoolExecutor(1) as pool:
            found = {"reads": await reads(folder, backend, pool)}
        if sys.platform == "linux":
            first, *others = sorted(os.sched_getaffinity(0))
            found["reads on one core"] = await reads_on(folder, first, first)
            if others:
                found["reads between two cores"] = await reads_on(folder, first, others[0])
        found["writes"] = await writes(folder, backend)
        await backend.aclose()
        found["scan"] = await scan(folder)
        found["four processes"] = await four_processes(folder)
        found["feed"] = await idle_feed(folder)
    return found


def main() -> None:
    found = asyncio.run(measure())
    for part, figures in found.items():
        print(part)
        for name, figure in figures.items():
            print(f"  {name:40} {figure:12,.2f}", flush=True)
    machine = {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version, "cores": os.cpu_count()}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"machine": machine, **found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
