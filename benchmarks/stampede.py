"""How often an answer is computed when 200 callers ask for it at the same time. `python -m benchmarks stampede`

The callers are in one process or in four; those of four also beside two processes that compute all the time. One
server. The answer takes 50 ms to compute. Peers that share no computations have their plain way: get, compute, set.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any, Final

from benchmarks import peers
from benchmarks.peers.interface import Store
from benchmarks.running.results import Question, Table
from benchmarks.running.rounds import scale
from benchmarks.running.work import ANSWER, chat_request, packages, server

CALLERS: Final = 200
SECONDS: Final = 0.05
ROUNDS: Final = 9
PROCESSES: Final = 4
BUSY_LOOPS: Final = 2
PLACES: Final = ("one process", "4 processes", "4 processes, beside two busy ones")
BUSY: Final = "import os; parent = os.getppid()\nwhile os.getppid() == parent: pass"
NOT_ASKED: Final = (
    "floor: lane, key, decoding",
    "cachecore, a tenth of the keys in memory",
    "redis-py, timeouts off",
    "LiteLLM",
)
"""These have the computations of another that is asked."""


async def of_caller(store: Store, request: dict[str, Any], computed: list[int]) -> None:
    async def compute() -> Any:
        computed.append(1)
        await asyncio.sleep(SECONDS)
        return ANSWER

    if store.get_or_set is not None:
        await store.get_or_set(request, compute)
    elif await store.get(request) is None:
        await store.set(request, await compute())


async def one_process(file: str, name: str, url: str, callers: int) -> None:
    """Wait for a number on standard input, ask for it from all callers, and print how often it was computed."""
    opens = next(peer.redis for peer in peers.of_file(file) if peer.name == name)
    assert opens is not None
    loop = asyncio.get_running_loop()
    async with opens(url) as store:
        await store.get(chat_request(-1))
        print("ready", flush=True)
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            computed: list[int] = []
            request = chat_request(int(line))
            began = time.perf_counter()
            await asyncio.gather(*(of_caller(store, request, computed) for _ in range(callers)))
            print(json.dumps([len(computed), time.perf_counter() - began]), flush=True)


@contextlib.contextmanager
def asking(file: str, name: str, url: str, processes: int) -> Iterator[list[subprocess.Popen[str]]]:
    command = [sys.executable, "-m", "benchmarks.stampede", file, name, url, str(CALLERS // processes)]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(processes)
    ]
    try:
        for one in started:
            assert one.stdout is not None
            while one.stdout.readline().strip() != "ready":
                assert one.poll() is None, f"{name} ended"
        yield started
    finally:
        for one in started:
            one.communicate()  # closes its standard input, which ends it


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    running = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for one in running:
            one.kill()
            one.wait()


def rounds(started: list[subprocess.Popen[str]], first: int) -> dict[str, Any]:
    """Return how often one answer was computed, and how long the last caller waited."""
    calls, seconds = [], []
    for number in range(first, first + 1 + max(3, round(ROUNDS * scale()))):
        for one in started:
            assert one.stdin is not None
            one.stdin.write(f"{number}\n")
            one.stdin.flush()
        found = [json.loads(one.stdout.readline()) for one in started if one.stdout is not None]
        if number > first:  # the first round makes connections
            calls.append(sum(count for count, _ in found))
            seconds.append(max(took for _, took in found))
    return {
        "computations, mean": round(statistics.mean(calls), 2),
        "most": max(calls),
        "last caller ms": round(1000 * statistics.median(seconds), 1),
    }


async def measure() -> list[Table]:
    asked = [
        (file, peer.name)
        for file in peers.files()
        for peer in peers.of_file(file)
        if peer.redis is not None and peer.name not in NOT_ASKED
    ]
    rows: dict[str, dict[str, Any]] = {place: {} for place in PLACES}
    alone, together, beside = PLACES
    with server() as url:
        for database, (file, name) in enumerate(asked, 1):
            place = f"{url.removesuffix('/0')}/{database}"
            with asking(file, name, place, 1) as started:
                rows[alone][name] = rounds(started, 1000)
            with asking(file, name, place, PROCESSES) as started:
                rows[together][name] = rounds(started, 2000)
                with busy(BUSY_LOOPS):
                    rows[beside][name] = rounds(started, 3000)
    return [Table(f"{CALLERS} callers in {place}", "most", found) for place, found in rows.items()]


QUESTION = Question(
    "stampede", "How often is an answer computed that many ask for at once?", measure, packages("redis")
)

if __name__ == "__main__":
    if len(sys.argv) == 5:
        asyncio.run(one_process(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
        sys.exit(0)
    sys.exit(QUESTION.main())
