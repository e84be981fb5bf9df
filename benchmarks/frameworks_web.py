"""The cost of a hit through web frameworks and tool servers, beside the framework's own cache in memory.

`python -m benchmarks.frameworks_web`. Both sides of a row run in turns in one process; the best of the rounds counts,
since machines are noisy. A framework that is not installed is left out.
"""

from __future__ import annotations

import asyncio
import importlib.util
import time
from collections.abc import Callable
from typing import Any

from cachecore import Cache

ROUNDS = 40
CALLS = 200
BATCH = 50
"""Asynchronous calls in one run of the loop."""
ANSWER: dict[str, Any] = {"id": "chatcmpl-1", "text": "word " * 200, "usage": {"in": 12, "out": 250}, "tags": ["a"]}

Hit = Callable[[], Any]


def microseconds(hit: Hit, calls: int) -> float:
    """Return the microseconds of one call."""
    begin = time.perf_counter()
    for _ in range(calls):
        hit()
    return (time.perf_counter() - begin) / calls * 1e6


def many(runner: asyncio.Runner, ask: Callable[[], Any]) -> Hit:
    """Return a function that asks `BATCH` times in one run of the loop."""

    async def batch() -> None:
        for _ in range(BATCH):
            await ask()

    return lambda: runner.run(batch())


def compare(name: str, theirs: Hit, ours: Hit, *, batch: int = 1) -> None:
    """Print one row; `batch` is how many calls a hit stands for."""
    calls = max(1, CALLS // batch)
    pairs = [(microseconds(theirs, calls) / batch, microseconds(ours, calls) / batch) for _ in range(ROUNDS)]
    own, cached = (min(side) for side in zip(*pairs, strict=True))
    print(f"{name:42} {own:8.1f} µs {cached:8.1f} µs   x {cached / own:.2f}")


def django() -> None:
    from django.conf import settings

    settings.configure()
    from django.core.cache.backends.locmem import LocMemCache

    from cachecore_frameworks.django import CacheCore

    theirs, ours = LocMemCache("b", {}), CacheCore("memory://", {})
    for backend in (theirs, ours):
        backend.set("a", ANSWER)
        backend.set("t", "text")
    compare("Django get, a dict of 1 KB", lambda: theirs.get("a"), lambda: ours.get("a"))
    compare("Django get, text", lambda: theirs.get("t"), lambda: ours.get("t"))


def flask_caching() -> None:
    from flask_caching.backends.simplecache import SimpleCache

    from cachecore_frameworks.flask_caching import CacheCore

    theirs, ours = SimpleCache(), CacheCore("memory://")
    for backend in (theirs, ours):
        backend.set("a", ANSWER)
    compare("Flask-Caching get, a dict of 1 KB", lambda: theirs.get("a"), lambda: ours.get("a"))


def keyvalue(runner: asyncio.Runner) -> None:
    from key_value.aio.stores.memory import MemoryStore

    from cachecore_frameworks.keyvalue import CacheCoreStore

    theirs, ours = MemoryStore(), CacheCoreStore(Cache("memory://", ttl=60))
    for store in (theirs, ours):
        runner.run(store.put("a", ANSWER, ttl=600))

    def hits(store: Any) -> Hit:
        return many(runner, lambda: store.get("a"))

    compare("py-key-value get, a dict of 1 KB", hits(theirs), hits(ours), batch=BATCH)


def fastapi(runner: asyncio.Runner) -> None:
    import httpx
    from fastapi import APIRouter, FastAPI

    from cachecore_frameworks.fastapi import CachedRoute, cached

    cache = Cache("memory://", ttl=60)
    app, router = FastAPI(), APIRouter(route_class=CachedRoute)

    @router.get("/cached")
    @cached(cache, ttl=600)
    async def route() -> dict[str, Any]:
        return ANSWER

    @app.get("/bare")
    async def bare() -> dict[str, Any]:
        return ANSWER

    app.include_router(router)
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://b")
    compare(
        "FastAPI, a route that computes nothing",
        many(runner, lambda: client.get("/bare")),
        many(runner, lambda: client.get("/cached")),
        batch=BATCH,
    )


def main() -> None:
    """Print one row for each framework."""
    print(f"{'a hit':42} {'its own':>11} {'cachecore':>11}")
    with asyncio.Runner() as runner:
        for package, rows in (("django", django), ("flask_caching", flask_caching)):
            if importlib.util.find_spec(package) is not None:
                rows()
        for package, measured in (("key_value", keyvalue), ("fastapi", fastapi)):
            if importlib.util.find_spec(package) is not None:
                measured(runner)


if __name__ == "__main__":
    main()
