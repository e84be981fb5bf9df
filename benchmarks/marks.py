"""The cost of the mark: `delete`, `invalidate_tags`, `set` and reads in eight processes, with it and without, in turns.

    python -m benchmarks marks

All processes do the same for a moment, with the mark; then without it, on a backend that hides the ability; and so on.
What is compared is how many calls they complete together.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from typing import Any, Final

from benchmarks.running.results import Question, Table
from benchmarks.running.rounds import scale
from benchmarks.running.work import server
from cachecore import Cache
from cachecore_redis import RedisBackend

PROCESSES: Final = 8
TURNS: Final = max(3, round(7 * scale()))
SECONDS: Final = 0.6 if scale() >= 1 else 0.2
KEYS: Final = 500
CHILD: Final = "child"
CALLS: Final = ("delete", "invalidate_tags", "set", "get")


class Unmarked(RedisBackend):
    """The backend without its marks."""

    advance = None  # type: ignore[assignment] # so that the ability is not there


async def make(cache: Cache[Any], call: str, number: int, key: int) -> None:
    if call == "delete":
        await cache.delete((number, key))
    elif call == "invalidate_tags":
        await cache.invalidate_tags(f"{number} {key}")
    elif call == "set":
        await cache.set((number, key), "answer" * 40, tags=["t"])
    else:
        await cache.get((number, key))


async def child(url: str, number: int) -> None:
    """Do what each line of standard input says: which call, with or without the mark; print how many were made."""
    caches: dict[str, Cache[Any]] = {
        "with": Cache(RedisBackend(url), prefix="with", ttl=3600, l1_max_entries=0, backend_timeout=5),
        "without": Cache(Unmarked(url), prefix="without", ttl=3600, l1_max_entries=0, backend_timeout=5),
    }
    for name, cache in caches.items():
        for key in range(KEYS):
            await cache.set((number, key), "answer" * 40, tags=["t"])
        assert (await cache.health())["marks"] == ("ok" if name == "with" else "none")
    loop = asyncio.get_running_loop()
    print("ready", flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        call, name = line.split()
        spent = time.process_time()
        done, ends = 0, time.perf_counter() + SECONDS
        while time.perf_counter() < ends:
            await make(caches[name], call, number, done % KEYS)
            done += 1
        print(done, time.process_time() - spent, flush=True)
    for cache in caches.values():
        await cache.aclose()


async def run(url: str) -> dict[str, list[tuple[float, float]]]:
    """Return, for each call and turn, how many times longer it takes with the mark: by the clock, of the processor."""
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.marks", CHILD, url, str(number),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )
        for number in range(PROCESSES)
    ]  # fmt: skip

    async def said(process: asyncio.subprocess.Process) -> str:
        assert process.stdout is not None
        return (await process.stdout.readline()).decode().strip()

    async def made(call: str, name: str) -> tuple[float, float]:
        """Return the seconds that a call takes, of all processes together, and those of processor time in clients."""
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(f"{call} {name}\n".encode())
        answers = [line.split() for line in await asyncio.gather(*map(said, processes))]
        calls = sum(int(done) for done, _ in answers)
        return SECONDS / calls, sum(float(spent) for _, spent in answers) / calls

    assert await asyncio.gather(*map(said, processes)) == ["ready"] * PROCESSES
    ratios: dict[str, list[tuple[float, float]]] = {call: [] for call in CALLS}
    for turn in range(TURNS):
        for call in CALLS:
            order = ("with", "without") if turn % 2 else ("without", "with")
            took = {name: await made(call, name) for name in order}
            wall, processor = (took["with"][i] / took["without"][i] for i in (0, 1))
            ratios[call].append((wall, processor))
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()
    return ratios


async def measure() -> list[Table]:
    with server() as url:
        ratios = await run(url)
    rows: dict[str, dict[str, Any]] = {}
    for call, found in ratios.items():
        rows[call] = {}
        for by, part in zip(("wall", "processor"), zip(*found, strict=True), strict=True):
            rows[call] |= {
                f"×, {by}": round(statistics.median(part), 3),
                f"{by}, least and most": f"{min(part):.2f} to {max(part):.2f}",
            }
    return [Table(f"a call in {PROCESSES} processes, with marks", "×, wall", rows)]


QUESTION = Question("marks", "The cost of the mark of invalidations on Redis", measure, ["redis"])

if __name__ == "__main__":
    if sys.argv[1:2] == [CHILD]:
        asyncio.run(child(sys.argv[2], int(sys.argv[3])))
        sys.exit(0)
    sys.exit(QUESTION.main())
