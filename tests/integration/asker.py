"""One process of many that ask for the same thing: `python -m tests.integration.asker URL CALLERS SECONDS LEASE`.

Prints `ready`, waits for a line, asks with many callers at once, prints `computing` when its factory is called, and at
the end its factory calls and the distinct answers. A computation takes SECONDS; a lease that is not renewed lives LEASE
seconds. The store may take as long as a busy machine makes it.
"""

from __future__ import annotations

import asyncio
import json
import sys

from cachecore import Cache


async def main(url: str, callers: int, seconds: float, lease: float) -> None:
    calls = 0

    async def factory() -> str:
        nonlocal calls
        calls += 1
        print("computing", flush=True)
        await asyncio.sleep(seconds)
        return "answer"

    async with Cache[str](url, ttl=60, backend_timeout=30, lease_ttl=lease) as cache:
        await cache.get("warm")
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        answers = await asyncio.gather(*(cache.get_or_set("q", factory) for _ in range(callers)))
        print(json.dumps({"calls": calls, "answers": sorted(set(answers))}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])))
