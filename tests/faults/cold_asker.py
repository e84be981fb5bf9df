"""One process of many that ask for one thing: `python -m tests.faults.cold_asker FACE URL CALLERS SECONDS WARM NAME`.

Prints `ready`, waits for a line, asks with many callers at once, and prints its factory calls, the distinct answers,
and what went wrong with the store. A computation takes SECONDS. The cache was not used before, unless it is WARM.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from typing import Any

from cachecore import Cache, SyncCache

_calls = 0
QUESTION = sys.argv[6] if len(sys.argv) > 6 else "q"


def begin() -> None:
    print("ready", flush=True)
    sys.stdin.readline()


def told(answers: list[Any], cache: Cache[Any] | SyncCache[Any]) -> None:
    stats = cache.stats
    wrong = {"errors": stats.backend_errors, "not_stored": stats.not_stored, "rejected": stats.rejected}
    print(json.dumps({"calls": _calls, "answers": sorted(set(answers)), **wrong}), flush=True)


async def tasks(url: str, callers: int, seconds: float, warm: bool) -> None:
    async def factory() -> str:
        global _calls
        _calls += 1
        await asyncio.sleep(seconds)
        return "answer"

    async with Cache[str](url, ttl=600) as cache:
        if warm:
            await cache.get("warm")
        await asyncio.to_thread(begin)
        told(await asyncio.gather(*(cache.get_or_set(QUESTION, factory) for _ in range(callers))), cache)


def threads(url: str, callers: int, seconds: float, warm: bool) -> None:
    def factory() -> str:
        global _calls
        _calls += 1
        time.sleep(seconds)
        return "answer"

    with SyncCache[str](url, ttl=600) as cache:
        if warm:
            cache.get("warm")
        together, answers = threading.Barrier(callers + 1), list[str]()

        def ask() -> None:
            together.wait()
            answers.append(cache.get_or_set(QUESTION, factory))

        asking = [threading.Thread(target=ask) for _ in range(callers)]
        for thread in asking:
            thread.start()
        begin()
        together.wait()
        for thread in asking:
            thread.join()
        told(answers, cache)


if __name__ == "__main__":
    face, url, callers, seconds, warm = sys.argv[1:6]
    if face == "Cache":
        asyncio.run(tasks(url, int(callers), float(seconds), warm == "warm"))
    else:
        threads(url, int(callers), float(seconds), warm == "warm")
