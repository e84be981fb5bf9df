"""How many answers a second come out of Redis: ours beside the plain design that most applications write.

    python -m benchmarks.redis_reads     # prints tables, writes benchmarks/results/redis_reads.json

The plain design is `json.dumps` and sha256 of the request, GET through `redis.asyncio`, `json.loads` of the response.
It is measured with redis-py's defaults and with its timeouts off (`socket_timeout=None`), which makes it faster and
leaves it without protection against a server that does not answer. Ours keeps its deadlines and its checks. Requests
of 3 KB are drawn from a Zipf distribution (exponent 1) over a thousand, in one order for all; responses have 1.7 KB.

Contenders take turns in one run; a ratio is the median of the ratios within a turn, so that a busy machine does not
decide. One server on loopback: the Valkey of the wheel, or the first that this machine has. How long a bare socket
waits for the same reply is printed with the rest: a lone reader cannot be faster, whoever reads.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import json
import platform
import random
import socket
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from redis.asyncio import Redis

from benchmarks.hot_path import RESPONSE
from benchmarks.keys import flat_request
from cachecore import Cache
from cachecore.testing import servers
from cachecore_redis import RedisBackend

RESULTS = Path(__file__).parent / "results" / "redis_reads.json"
TASKS: Final = (1, 16, 64, 256)
TURNS: Final = 7
READS: Final = 4096
REQUESTS: Final = 1000
IN_MEMORY: Final = REQUESTS // 10
DEFAULT, TUNED = "plain design, redis-py's defaults", "plain design, timeouts off"
GET, GET_OR_SET = "cachecore get, no values in memory", "cachecore get_or_set, no values in memory"
WARM = "cachecore get, a tenth in memory"
BYTES, OURS = "GET by redis-py, timeouts off", "GET by our backend"
BARE = "bare connection, the same MGETs"

Read = Callable[[int], Awaitable[object]]


def request_of(i: int) -> dict[str, Any]:
    return {**json.loads(json.dumps(flat_request())), "n": i}


def drawn() -> list[int]:
    """Return which request each read is for: Zipf's law, one order for everybody."""
    chance = random.Random(1)
    return chance.choices(range(REQUESTS), [1 / (rank + 1) for rank in range(REQUESTS)], k=READS)


class BareReads:
    """What is left of a read without key, guard, checks and decoding: one MGET for the reads of a tick, and futures."""

    def __init__(self, backend: RedisBackend, keys: list[str]) -> None:
        self.backend = backend
        self.keys = keys
        self.waiting: dict[str, list[asyncio.Future[bytes | None]]] = {}

    async def read(self, i: int) -> bytes | None:
        loop = asyncio.get_running_loop()
        if not self.waiting:
            loop.call_soon(self.send)
        future: asyncio.Future[bytes | None] = loop.create_future()
        self.waiting.setdefault(self.keys[i], []).append(future)
        return await future

    def send(self) -> None:
        waiting, self.waiting = self.waiting, {}
        answer = asyncio.ensure_future(self.backend.get_many(list(waiting)))

        def give(answered: asyncio.Future[list[bytes | None]]) -> None:
            for futures, value in zip(waiting.values(), answered.result(), strict=True):
                for future in futures:
                    future.set_result(value)

        answer.add_done_callback(give)


async def contenders(url: str) -> tuple[dict[str, Read], list[Callable[[], Awaitable[Any]]]]:
    """Return what is measured, by name, and what ends it."""
    requests = [request_of(i) for i in range(REQUESTS)]
    # Its pool must hold every task, or the plain design raises from 100 tasks on.
    default = Redis.from_url(url, max_connections=max(TASKS))
    tuned = Redis.from_url(url, max_connections=max(TASKS), socket_timeout=None, socket_connect_timeout=None)
    backend = RedisBackend(url)
    cold: Cache[Any] = Cache(url, ttl=3600, l1_max_entries=0)
    warm: Cache[Any] = Cache(url, ttl=3600, l1_max_entries=IN_MEMORY)

    def plain_key(request: dict[str, Any]) -> str:
        return "plain:" + hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()

    text = json.dumps(RESPONSE).encode()
    await backend.set_many({plain_key(request): text for request in requests}, ttl=3600)
    keys = [plain_key(request) for request in requests]
    for i in set(drawn()):
        await cold.set(requests[i], RESPONSE)
        assert await cold.get(requests[i]) == RESPONSE
    for i in drawn():
        assert await warm.get(requests[i]) == RESPONSE
    bare = BareReads(backend, [cold.key(request) for request in requests])

    async def plain(client: Any, i: int) -> object:
        found: object = json.loads(await client.get(plain_key(requests[i])))
        return found

    async def never() -> object:
        raise AssertionError("every answer is in the store")

    reads: dict[str, Read] = {
        DEFAULT: lambda i: plain(default, i),
        TUNED: lambda i: plain(tuned, i),
        GET: lambda i: cold.get(requests[i]),
        GET_OR_SET: lambda i: cold.get_or_set(requests[i], never),
        WARM: lambda i: warm.get(requests[i]),
        BARE: bare.read,
        BYTES: lambda i: tuned.get(keys[i]),
        OURS: lambda i: backend.get_many(keys[i : i + 1]),
    }
    return reads, [default.aclose, tuned.aclose, backend.aclose, cold.aclose, warm.aclose]


class Turn:
    """One contender reading all that was drawn, once."""

    def __init__(self, rate: float, processor: float, times: list[float]) -> None:
        self.rate = rate
        """Reads a second."""
        self.processor = processor
        """µs of this process for each read."""
        self.p50, self.p99 = (times[len(times) * part // 100] for part in (50, 99))
        """µs that a reader waits; of a second pass, since taking the time takes time."""


async def turn(read: Read, tasks: int, order: list[int]) -> Turn:
    """Let `tasks` tasks read all the time, until everything in `order` was read; then again, with a watch."""
    left = iter(order)
    clock = time.perf_counter
    times: list[float] = []

    async def work() -> None:
        for i in left:
            await read(i)

    async def watched() -> None:
        for i in left:
            at = clock()
            await read(i)
            times.append((clock() - at) * 1e6)

    processor, began = time.process_time(), clock()
    await asyncio.gather(*(work() for _ in range(tasks)))
    took, used = clock() - began, time.process_time() - processor
    left = iter(order)
    await asyncio.gather(*(watched() for _ in range(tasks)))
    return Turn(len(order) / took, used / len(order) * 1e6, sorted(times))


async def measure(url: str) -> dict[int, dict[str, list[Turn]]]:
    reads, ends = await contenders(url)
    order = drawn()
    found: dict[int, dict[str, list[Turn]]] = {}
    gc.collect()
    gc.freeze()  # what was made to measure with is nothing that a collection should pass through in anybody's turn
    for tasks in TASKS:
        rows = found[tasks] = {name: [] for name in reads}
        for read in reads.values():
            await turn(read, tasks, order[: tasks * 2])  # connections are made before, not in the first turn
        for _ in range(TURNS):
            for name, read in reads.items():
                rows[name].append(await turn(read, tasks, order))
    for end in ends:
        await end()
    return found


def round_trip(url: str) -> float:
    """Return the µs, at the median, that a blocking socket waits for the reply to one GET of a response."""
    port = urlsplit(url).port
    with socket.create_connection(("127.0.0.1", port)) as server:
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        value = json.dumps(RESPONSE).encode()
        server.sendall(b"*3\r\n$3\r\nSET\r\n$4\r\nbare\r\n$%d\r\n%b\r\n" % (len(value), value))
        server.recv(100)
        times = []
        for _ in range(2000):
            began = time.perf_counter()
            server.sendall(b"*2\r\n$3\r\nGET\r\n$4\r\nbare\r\n")
            left = len(value)
            while left > 0:
                left -= len(server.recv(65536))
            times.append((time.perf_counter() - began) * 1e6)
    return statistics.median(times)


# what it is the ratio of, contender, what it is compared with, tasks -> the least its ratio may be
RATIOS: list[tuple[str, str, dict[int, float]]] = [
    (GET, DEFAULT, {1: 3, 16: 5, 64: 6, 256: 8}),
    (GET_OR_SET, DEFAULT, {1: 3, 16: 5, 64: 6, 256: 8}),
    (GET, TUNED, {1: 2, 16: 4, 64: 5, 256: 6}),
    (GET_OR_SET, TUNED, {1: 2, 16: 4, 64: 5, 256: 6}),
    (WARM, DEFAULT, {1: 10, 16: 10, 64: 10, 256: 10}),
]
MOST_PROCESSOR: Final = 5.0
"""µs of processor time that a read may take beyond the bare connection's."""
MOST_P99: Final = 0.25
"""Of the plain design's p99, at the most tasks."""
MOST_HIT: Final = 5.0
"""µs, at the median, of a hit in memory."""


def verdicts(found: dict[int, dict[str, list[Turn]]]) -> list[dict[str, Any]]:
    """Return every goal, what was measured, and whether it was reached."""

    def compared(ours: str, other: str, tasks: int, of: Callable[[Turn, Turn], float]) -> float:
        rows = found[tasks]
        return statistics.median(of(a, b) for a, b in zip(rows[ours], rows[other], strict=True))

    goals = []
    for ours, other, least in RATIOS:
        for tasks, goal in least.items():
            ratio = compared(ours, other, tasks, lambda a, b: a.rate / b.rate)
            goals.append((f"{ours} / {other}", tasks, ratio, goal, ratio >= goal))
    most = max(TASKS)
    for ours in (GET, GET_OR_SET):
        more = compared(ours, BARE, most, lambda a, b: a.processor - b.processor)
        goals.append((f"{ours}: processor µs beyond {BARE}", most, more, MOST_PROCESSOR, more <= MOST_PROCESSOR))
        part = compared(ours, DEFAULT, most, lambda a, b: a.p99 / b.p99)
        goals.append((f"{ours}: p99 / {DEFAULT}", most, part, MOST_P99, part <= MOST_P99))
    hit = statistics.median(one.p50 for one in found[1][WARM])
    goals.append((f"{WARM}: µs of a hit", 1, hit, MOST_HIT, hit <= MOST_HIT))
    return [
        {"figure": figure, "tasks": tasks, "measured": round(value, 2), "goal": goal, "reached": reached}
        for figure, tasks, value, goal, reached in goals
    ]


def main() -> int:
    """Measure, print, write the results; return how many goals were missed."""
    installed = servers.installed()
    name = max(installed)
    with servers.Server(installed[name]) as server:
        floor = round_trip(server.url)
        found = asyncio.run(measure(server.url))
    medians = {
        tasks: {
            row: {
                "rate": round(statistics.median(one.rate for one in turns)),
                "processor_us": round(statistics.median(one.processor for one in turns), 2),
                "p99_us": round(statistics.median(one.p99 for one in turns), 1),
            }
            for row, turns in rows.items()
        }
        for tasks, rows in found.items()
    }
    print("  answers a second, processor µs each" + "".join(f"{tasks:>14} tasks" for tasks in TASKS))
    for row in next(iter(medians.values())):
        cells = (medians[tasks][row] for tasks in TASKS)
        print(f"  {row:42}" + "".join(f"{cell['rate']:10,.0f} {cell['processor_us']:6.1f}   " for cell in cells))
    print(f"  a bare socket waits {floor:.0f} µs for one reply")
    goals = verdicts(found)
    for goal in goals:
        verdict = "reached" if goal["reached"] else "missed"
        print(f"  {goal['figure']}, {goal['tasks']} tasks: {goal['measured']:.2f}, goal {goal['goal']:g} {verdict}")
    results = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "server": name,
        "round_trip_us": round(floor, 1),
        "medians": {str(tasks): rows for tasks, rows in medians.items()},
        "goals": goals,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    return sum(not goal["reached"] for goal in goals)


if __name__ == "__main__":
    sys.exit(main())
