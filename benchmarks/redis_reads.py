"""How many answers a second come out of Redis: ours beside the plain design that most applications write.

    python -m benchmarks.redis_reads     # prints tables, writes benchmarks/results/redis_reads.json

The plain design is `json.dumps` and sha256 of the request, GET through `redis.asyncio`, `json.loads` of the response.
It is measured with redis-py's defaults and with its timeouts off (`socket_timeout=None`), which makes it twice as fast
and leaves it without protection against a server that does not answer. Ours keeps its deadlines.

Contenders take turns in one run; a ratio is the median of the ratios within a turn, so that a busy machine does not
decide. One server on loopback: the Valkey of the wheel, or the first that this machine has.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import platform
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from benchmarks.hot_path import RESPONSE
from benchmarks.keys import flat_request
from cachecore import Cache
from cachecore.protocols import Alive, Changed
from cachecore.testing import servers
from cachecore_redis import RedisBackend

RESULTS = Path(__file__).parent / "results" / "redis_reads.json"
TASKS = (1, 16, 64, 256)
TURNS = 7
READS = 4096
REQUESTS = 64
CHANGES = 2000
WRITE = "write"
DEFAULT, TUNED = "plain design, redis-py's defaults", "plain design, timeouts off"
CACHE, WARM = "cachecore, memory off", "cachecore, memory on"
BYTES, OURS_ONE, OURS_THREE = "GET by redis-py, timeouts off", "GET by our backend", "MGET of 3 by our backend"

Read = Callable[[int], Awaitable[object]]


def request_of(i: int) -> dict[str, Any]:
    return {**json.loads(json.dumps(flat_request())), "n": i}


async def contenders(url: str) -> tuple[dict[str, Read], list[Callable[[], Awaitable[Any]]]]:
    """Return what is measured, by name, and what ends it."""
    requests = [request_of(i) for i in range(REQUESTS)]
    # Its pool must hold every task, or the plain design raises from 100 tasks on.
    default = Redis.from_url(url, max_connections=max(TASKS))
    tuned = Redis.from_url(url, max_connections=max(TASKS), socket_timeout=None, socket_connect_timeout=None)
    backend = RedisBackend(url)
    cold: Cache[Any] = Cache(url, ttl=3600, l1_max_entries=0)
    warm: Cache[Any] = Cache(url, ttl=3600, l1_max_age=3600)

    def plain_key(request: dict[str, Any]) -> str:
        return "plain:" + hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()

    text = json.dumps(RESPONSE).encode()
    await backend.set_many({plain_key(request): text for request in requests}, ttl=3600)
    await backend.set_many({"stamp:1": b"1" * 16, "stamp:2": b"2" * 16}, ttl=3600)
    keys = [plain_key(request) for request in requests]
    threes = [[key, "stamp:1", "stamp:2"] for key in keys]
    for request in requests:
        await cold.set(request, RESPONSE)
        assert await cold.get(request) == RESPONSE
        assert await warm.get(request) == RESPONSE

    async def plain(client: Any, i: int) -> object:
        found: object = json.loads(await client.get(plain_key(requests[i])))
        return found

    reads: dict[str, Read] = {
        DEFAULT: lambda i: plain(default, i),
        TUNED: lambda i: plain(tuned, i),
        CACHE: lambda i: cold.get(requests[i]),
        WARM: lambda i: warm.get(requests[i]),
        BYTES: lambda i: tuned.get(keys[i]),
        OURS_ONE: lambda i: backend.get_many(keys[i : i + 1]),
        OURS_THREE: lambda i: backend.get_many(threes[i]),
    }
    return reads, [default.aclose, tuned.aclose, backend.aclose, cold.aclose, warm.aclose]


async def rate(read: Read, tasks: int, reads: int) -> float:
    """Return reads a second of `tasks` tasks that read all the time."""

    async def work(task: int) -> None:
        for i in range(task, reads, tasks):
            await read(i % REQUESTS)

    began = time.perf_counter()
    await asyncio.gather(*(work(task) for task in range(tasks)))
    return reads / (time.perf_counter() - began)


async def measure(url: str) -> dict[int, dict[str, list[float]]]:
    reads, ends = await contenders(url)
    samples: dict[int, dict[str, list[float]]] = {}
    for tasks in TASKS:
        rows = samples[tasks] = {name: [] for name in reads}
        for read in reads.values():
            await rate(read, tasks, tasks * 2)  # connections are made before, not in the first turn
        for _ in range(TURNS):
            for name, read in reads.items():
                rows[name].append(await rate(read, tasks, READS))
    for end in ends:
        await end()
    return samples


async def staleness(url: str) -> list[float]:
    """Return, for each of many changes by another process, the µs between its acknowledgement and our hearing of it."""
    reader = RedisBackend(url)
    stream = reader.feed("stale:")
    while not isinstance(await anext(stream), Alive):
        pass
    writer = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.redis_reads", WRITE, url, stdout=asyncio.subprocess.PIPE
    )
    heard: dict[str, float] = {}
    async for event in stream:
        if isinstance(event, Changed):
            heard.update(dict.fromkeys(event.keys, time.monotonic()))
            if len(heard) == CHANGES:
                break
    written, _ = await writer.communicate()
    await reader.aclose()
    acknowledged = [float(moment) for moment in written.split()]
    return sorted(max(0.0, heard[f"stale:{i}"] - at) * 1e6 for i, at in enumerate(acknowledged))


async def write(url: str) -> None:
    """Change keys and print when each was acknowledged; monotonic time is one for all processes of a machine."""
    writer = RedisBackend(url)
    moments = []
    for i in range(CHANGES):
        await writer.set_many({f"stale:{i}": b"v"}, ttl=60)
        moments.append(time.monotonic())
        await asyncio.sleep(0.0005)
    await writer.aclose()
    print("\n".join(map(repr, moments)))


# contender, what it is compared with, tasks -> the least its ratio may be
GOALS: list[tuple[str, str, dict[int, float]]] = [
    (CACHE, TUNED, {1: 1.0, 16: 2.5, 64: 3.0, 256: 3.0}),
    (CACHE, DEFAULT, {1: 1.5, 16: 4.0, 64: 4.5, 256: 4.5}),
    (OURS_ONE, BYTES, {1: 1.4, 16: 4.5, 64: 6.0, 256: 7.0}),
]


def main() -> int:
    """Measure, print, write the results; return how many goals were missed."""
    found = servers.installed()
    name = max(found)
    with servers.Server(found[name]) as server:
        samples = asyncio.run(measure(server.url))
        late = asyncio.run(staleness(server.url))
    medians = {
        tasks: {row: round(statistics.median(rates)) for row, rates in rows.items()} for tasks, rows in samples.items()
    }
    print(f"  answers a second{'':26}" + "".join(f"{tasks:>10} tasks" for tasks in TASKS))
    for row in next(iter(medians.values())):
        print(f"  {row:42}" + "".join(f"{medians[tasks][row]:16,}" for tasks in TASKS))
    missed = 0
    goals = []
    for ours, other, least in GOALS:
        for tasks, goal in least.items():
            rows = samples[tasks]
            ratio = statistics.median(a / b for a, b in zip(rows[ours], rows[other], strict=True))
            missed += ratio < goal
            verdict = "reached" if ratio >= goal else "missed"
            print(f"  {ours} / {other}, {tasks} tasks: {ratio:.1f}, goal {goal:.1f} {verdict}")
            goals.append({"figure": ours, "against": other, "tasks": tasks, "ratio": round(ratio, 2), "goal": goal})
    p50, p99 = late[len(late) // 2], late[len(late) * 99 // 100]
    print(f"  a change by another is heard of {p50:.0f} µs (p99 {p99:.0f}) after it was acknowledged to them")
    results = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "server": name,
        "unit": "answers a second",
        "medians": {str(tasks): rows for tasks, rows in medians.items()},
        "staleness_us": {"p50": round(p50, 1), "p99": round(p99, 1), "changes": CHANGES},
        "goals": goals,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    return missed


if __name__ == "__main__":
    if sys.argv[1:2] == [WRITE]:
        asyncio.run(write(sys.argv[2]))
        sys.exit(0)
    sys.exit(main())
