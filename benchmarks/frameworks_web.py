"""The cost of a hit through web frameworks and tool servers, beside the framework's own cache in memory.

    python -m benchmarks frameworks_web  # where the frameworks are installed: `make frameworks`

Both sides of a row run in turns in one process; the best of the rounds counts, since machines are noisy. Rows of
frameworks that are not installed stay as they were measured last.
"""

from __future__ import annotations

import asyncio
import importlib.util
import sys
import time
from collections.abc import Callable
from typing import Any, Final

from benchmarks.running.results import AbsentError, Question, Table, earlier
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


Rows = dict[str, dict[str, Any]]


def compare(rows: Rows, name: str, theirs: Hit, ours: Hit, *, batch: int = 1) -> None:
    """Add one row; `batch` is how many calls a hit stands for."""
    calls = max(1, CALLS // batch)
    pairs = [(microseconds(theirs, calls) / batch, microseconds(ours, calls) / batch) for _ in range(ROUNDS)]
    own, cached = (min(side) for side in zip(*pairs, strict=True))
    rows[name] = {"its own, µs": round(own, 1), "cachecore µs": round(cached, 1), "×": round(cached / own, 2)}


def django(rows: Rows) -> None:
    from django.conf import settings

    settings.configure()
    from django.core.cache.backends.locmem import LocMemCache

    from cachecore_frameworks.django import CacheCore

    theirs, ours = LocMemCache("b", {}), CacheCore("memory://", {})
    for backend in (theirs, ours):
        backend.set("a", ANSWER)
        backend.set("t", "text")
    compare(rows, "Django get, a dict of 1 KB", lambda: theirs.get("a"), lambda: ours.get("a"))
    compare(rows, "Django get, text", lambda: theirs.get("t"), lambda: ours.get("t"))


def flask_caching(rows: Rows) -> None:
    from flask_caching.backends.simplecache import SimpleCache

    from cachecore_frameworks.flask_caching import CacheCore

    theirs, ours = SimpleCache(), CacheCore("memory://")
    for backend in (theirs, ours):
        backend.set("a", ANSWER)
    compare(rows, "Flask-Caching get, a dict of 1 KB", lambda: theirs.get("a"), lambda: ours.get("a"))


def keyvalue(rows: Rows, runner: asyncio.Runner) -> None:
    from key_value.aio.stores.memory import MemoryStore

    from cachecore_frameworks.keyvalue import CacheCoreStore

    theirs, ours = MemoryStore(), CacheCoreStore(Cache("memory://", ttl=60))
    for store in (theirs, ours):
        runner.run(store.put("a", ANSWER, ttl=600))

    def hits(store: Any) -> Hit:
        return many(runner, lambda: store.get("a"))

    compare(rows, "py-key-value get, a dict of 1 KB", hits(theirs), hits(ours), batch=BATCH)


def fastapi(rows: Rows, runner: asyncio.Runner) -> None:
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
        rows,
        "FastAPI, a route that computes nothing",
        many(runner, lambda: client.get("/bare")),
        many(runner, lambda: client.get("/cached")),
        batch=BATCH,
    )


TITLE: Final = "a hit in memory"


async def measure() -> list[Table]:
    return await asyncio.to_thread(tables)  # in a thread without an event loop


def tables() -> list[Table]:
    rows = earlier(QUESTION.name, TITLE)
    with asyncio.Runner() as runner:
        for package, measured in (("django", django), ("flask_caching", flask_caching)):
            if importlib.util.find_spec(package) is not None:
                measured(rows)
        for package, asynchronous in (("key_value", keyvalue), ("fastapi", fastapi)):
            if importlib.util.find_spec(package) is not None:
                asynchronous(rows, runner)
    if not rows:
        raise AbsentError("no framework is installed: `make frameworks`")
    return [Table(TITLE, "×", rows)]


QUESTION = Question(
    "frameworks_web",
    "The cost of a hit through web frameworks and tool servers",
    measure,
    ["django", "Flask-Caching", "py-key-value-aio", "fastapi"],
)

if __name__ == "__main__":
    sys.exit(QUESTION.main())
