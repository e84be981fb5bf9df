"""What writes to Redis cost, and how soon another process has heard of them.

    python -m benchmarks.redis_writes     # prints tables, writes benchmarks/results/redis_writes.json

Writes: `set_many` of a thousand answers beside a thousand awaited SETs of the plain design (`json.dumps`, sha256,
`redis.asyncio`), in turns. FeedState: this process holds an answer in memory and asks for it all the time; another
deletes it, or invalidates its tag, and says when the server had acknowledged that. What is counted is how long after
the acknowledgement the old answer was last served from memory here.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import platform
import statistics
import sys
import time
from pathlib import Path
from typing import Any, Final

from redis.asyncio import Redis

from benchmarks.hot_path import RESPONSE
from cachecore import Cache
from cachecore.testing import servers

RESULTS = Path(__file__).parent / "results" / "redis_writes.json"
ANSWERS: Final = 1000
TURNS: Final = 7
TRIALS: Final = 2000
CHANGE: Final = "change"
LEAST_FASTER: Final = 5.0
MOST_P50: Final = 1.0
MOST_P99: Final = 20.0


async def writes(url: str, in_memory: int) -> list[float]:
    """Return, for each turn, how many times faster one `set_many` is than as many awaited SETs.

    `in_memory` of the answers are kept in this process's memory too.
    """
    client = Redis.from_url(url)
    cache: Cache[Any] = Cache(url, ttl=3600, l1_max_entries=in_memory)
    answers = {f"question {i}": RESPONSE for i in range(ANSWERS)}
    ratios = []
    for _ in range(TURNS):
        began = time.perf_counter()
        for question, answer in answers.items():
            key = hashlib.sha256(json.dumps(question).encode()).hexdigest()
            await client.set(f"plain:{key}", json.dumps(answer), ex=3600)
        plain = time.perf_counter() - began
        began = time.perf_counter()
        await cache.set_many(answers)
        ratios.append(plain / (time.perf_counter() - began))
        assert len(await cache.get_many(list(answers))) == ANSWERS
    await client.aclose()
    await cache.aclose()
    return ratios


async def staleness(url: str, how: str) -> list[float]:
    """Return, for each change by another process, the ms from its acknowledgement to the last old hit here."""
    cache: Cache[Any] = Cache(url, ttl=3600)
    other = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "benchmarks.redis_writes",
        CHANGE,
        url,
        how,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert other.stdin is not None
    assert other.stdout is not None
    late = []
    for trial in range(TRIALS):
        question = f"{how} {trial}"
        await cache.set(question, trial, tags=[f"tag {trial}"])
        while cache.peek(question) is None:
            await cache.get(question)
        other.stdin.write(f"{trial}\n".encode())
        told = asyncio.ensure_future(other.stdout.readline())
        served = 0.0
        while True:
            seen = cache.peek(question)
            if seen is not None:
                served = time.monotonic()
            elif told.done():
                break
            await asyncio.sleep(0)
        assert cache.peek(question) is None
        late.append(max(0.0, served - float(told.result())) * 1e3)
    other.stdin.close()
    await other.wait()
    await cache.aclose()
    return sorted(late)


async def change(url: str, how: str) -> None:
    """Change what is named line by line, and print when each change was acknowledged."""
    cache: Cache[Any] = Cache(url, ttl=3600)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        trial = int(line)
        if how == "delete":
            await cache.delete(f"{how} {trial}")
        else:
            await cache.invalidate_tags(f"tag {trial}")
        print(time.monotonic(), flush=True)  # one clock for all processes of a machine
    await cache.aclose()


def main() -> int:
    """Measure, print, write the results; return how many goals were missed."""
    installed = servers.installed()
    name = max(installed)
    with servers.Server(installed[name]) as server:
        faster, kept = (statistics.median(asyncio.run(writes(server.url, kept))) for kept in (0, ANSWERS))
        late = {how: asyncio.run(staleness(server.url, how)) for how in ("delete", "invalidate_tags")}
    missed = int(faster < LEAST_FASTER)
    print(f"  set_many of {ANSWERS:,} answers: {faster:.1f} times faster than as many SETs, goal {LEAST_FASTER:g}")
    print(f"  the same, and all kept in memory too: {kept:.1f}")
    figures = {}
    for how, each in late.items():
        p50, p99, most = each[len(each) // 2], each[len(each) * 99 // 100], each[-1]
        missed += p50 > MOST_P50 or p99 > MOST_P99
        figures[how] = {"p50_ms": round(p50, 3), "p99_ms": round(p99, 3), "most_ms": round(most, 3), "trials": TRIALS}
        print(
            f"  {how}: last old answer {p50:.2f} ms after the acknowledgement (p99 {p99:.2f}, most {most:.2f}), "
            f"goals {MOST_P50:g} and {MOST_P99:g}"
        )
    results = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "server": name,
        "set_many_ratio": round(faster, 2),
        "set_many_kept_in_memory_ratio": round(kept, 2),
        "staleness": figures,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    return missed


if __name__ == "__main__":
    if sys.argv[1:2] == [CHANGE]:
        asyncio.run(change(*sys.argv[2:4]))
        sys.exit(0)
    sys.exit(main())
