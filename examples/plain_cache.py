"""The cache alone, for anything that is worth computing once: no server, nothing to install but the core."""

import asyncio

from cachecore import Cache


async def slow_square(number: int) -> int:
    await asyncio.sleep(0.1)
    return number * number


async def main() -> None:
    async with Cache("memory://", ttl=60) as cache:
        for _ in range(3):
            found = await cache.lookup({"square": 12}, lambda: slow_square(12))
            print(found.value, found.outcome)


asyncio.run(main())
