"""How soon another process stops serving an answer that was deleted or invalidated. `python -m benchmarks staleness`

This process holds an answer in memory and asks for it all the time; another process deletes it, or invalidates its tag,
and says when the store had acknowledged that. A row counts how long after the acknowledgement the old answer was last
served here: 0 if it was not.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from typing import Any, Final

from benchmarks.running.results import Question, Table
from benchmarks.running.rounds import scale
from benchmarks.running.work import server
from cachecore import Cache

TRIALS: Final = 1000
CHANGE: Final = "change"
CHANGES: Final = ("delete", "invalidate_tags")


async def trials(url: str, how: str, count: int) -> list[float]:
    """Return, for each change by another process, the ms from its acknowledgement to the last old hit here; sorted."""
    command = [sys.executable, "-m", "benchmarks.staleness", CHANGE, url, how]
    pipe = asyncio.subprocess.PIPE
    other = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    assert other.stdin is not None
    assert other.stdout is not None
    late = []
    async with Cache[Any](url, ttl=3600) as cache:
        for trial in range(count):
            question = f"{how} {trial}"
            await cache.set(question, trial, tags=[f"tag {trial}"])
            while cache.peek(question) is None:
                await cache.get(question)
            other.stdin.write(f"{trial}\n".encode())
            told = asyncio.ensure_future(other.stdout.readline())
            served = 0.0
            while True:
                if cache.peek(question) is not None:
                    served = time.monotonic()
                elif told.done():
                    break
                await asyncio.sleep(0)
            late.append(max(0.0, served - float(told.result())) * 1e3)
    other.stdin.close()
    await other.wait()
    return sorted(late)


async def change(url: str, how: str) -> None:
    """Make the change that each line of standard input names; print when it was acknowledged."""
    loop = asyncio.get_running_loop()
    async with Cache[Any](url, ttl=3600) as cache:
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            trial = int(line)
            if how == "delete":
                await cache.delete(f"{how} {trial}")
            else:
                await cache.invalidate_tags(f"tag {trial}")
            print(time.monotonic(), flush=True)  # one clock for all processes of a machine


async def table(where: str, url: str) -> Table:
    count = max(100, round(TRIALS * scale()))
    rows = {}
    for how in CHANGES:
        late = await trials(url, how, count)
        p50, p99 = late[len(late) // 2], late[len(late) * 99 // 100]
        rows[f"cachecore {how}"] = {"p50 ms": round(p50, 3), "p99 ms": round(p99, 3), "most ms": round(late[-1], 3)}
    return Table(f"the last old answer, {where}", "p99 ms", rows, note=f"{count:,} changes each.")


async def measure() -> list[Table]:
    with server() as url, tempfile.TemporaryDirectory() as folder:
        return [await table("on Redis", url), await table("in a file", f"sqlite:///{folder}/answers.db")]


QUESTION = Question("staleness", "How soon does another process stop serving an old answer?", measure)

if __name__ == "__main__":
    if sys.argv[1:2] == [CHANGE]:
        asyncio.run(change(sys.argv[2], sys.argv[3]))
        sys.exit(0)
    sys.exit(QUESTION.main())
