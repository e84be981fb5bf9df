"""A process that deletes an answer from a store that does not answer, says what became of it, and waits for its end."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from cachecore import Cache, InvalidationPending


async def main(url: str, folder: str, how: str) -> None:
    cache: Cache[Any] = Cache(url, ttl=600, namespace="faq", pending_path=folder, write_timeout=0.05)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    try:
        if how == "delete":
            await cache.delete("q")
        elif how == "tags":
            await cache.invalidate_tags("doc")
        else:
            await cache.invalidate_all()
    except InvalidationPending:
        sys.stdout.write("pending\n")
    else:
        sys.stdout.write("done\n")
    sys.stdout.flush()
    await asyncio.sleep(60)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
