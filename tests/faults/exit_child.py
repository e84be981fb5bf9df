"""A program that deletes an answer while the store is silent, and ends without closing its cache."""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from typing import Any

from cachecore import Cache, InvalidationPending, SyncCache
from tests.faults.callers import PATIENT


def say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()
    sys.stdin.readline()


async def main(cache: Cache[Any]) -> None:
    assert await cache.get("q") == "old"
    say("ready")
    try:
        await cache.delete("q")
    except InvalidationPending:
        say("pending")


def threads(cache: SyncCache[Any]) -> None:
    assert cache.get("q") == "old"
    say("ready")
    try:
        cache.delete("q")
    except InvalidationPending:
        say("pending")


if __name__ == "__main__":
    face, url, write_timeout = sys.argv[1:]
    options: dict[str, Any] = {**PATIENT, "write_timeout": float(write_timeout)}
    if face.startswith("Cache"):
        asyncio.run(main(Cache(url, ttl=600, **options)))
        if face == "Cache, collected":
            gc.collect()
    else:
        cache = SyncCache[Any](url, ttl=600, **options)
        engine = cache._cache._engine
        threads(cache)
        del cache
        limit = time.monotonic() + 20
        while face == "SyncCache, closing" and not engine.closed and time.monotonic() < limit:
            gc.collect()
