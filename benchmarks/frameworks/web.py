"""Web frameworks and tool servers. Each case is imported where its framework is installed."""

from __future__ import annotations

import asyncio
from typing import Any

from benchmarks.frameworks.measuring import VALUE, Row, awaited, repeated
from cachecore import Cache


def django() -> Row:
    from django.conf import settings

    settings.configure()
    from django.core.cache.backends.locmem import LocMemCache

    from cachecore_frameworks.django import CacheCore

    own, ours = LocMemCache("b", {}), CacheCore("memory://", {})
    for backend in (own, ours):
        backend.set("a", VALUE)
    return Row(
        framework="Django",
        call="`cache.get`, a dict of 1 KB",
        packages=("django",),
        ours=repeated(lambda: ours.get("a")),
        own=repeated(lambda: own.get("a")),
        own_is="its `LocMemCache`",
    )


def flask_caching() -> Row:
    from flask_caching.backends.simplecache import SimpleCache

    from cachecore_frameworks.flask_caching import CacheCore

    own, ours = SimpleCache(), CacheCore("memory://")
    for backend in (own, ours):
        backend.set("a", VALUE)
    return Row(
        framework="Flask-Caching",
        call="`cache.get`, a dict of 1 KB",
        packages=("flask-caching",),
        ours=repeated(lambda: ours.get("a")),
        own=repeated(lambda: own.get("a")),
        own_is="its `SimpleCache`",
    )


def keyvalue() -> Row:
    from key_value.aio.stores.memory import MemoryStore

    from cachecore_frameworks.keyvalue import CacheCoreStore

    loop = asyncio.new_event_loop()
    own, ours = MemoryStore(), CacheCoreStore(Cache("memory://", ttl=600))
    for store in (own, ours):
        loop.run_until_complete(store.put("a", VALUE, ttl=600))
    return Row(
        framework="py-key-value",
        call="`get`, a dict of 1 KB",
        packages=("py-key-value-aio",),
        ours=awaited(loop, lambda: ours.get("a")),
        own=awaited(loop, lambda: own.get("a")),
        own_is="its `MemoryStore`",
    )


def fastmcp() -> Row:
    from fastmcp import Client, FastMCP
    from fastmcp.server.middleware.caching import ResponseCachingMiddleware

    from cachecore_frameworks.keyvalue import CacheCoreStore

    loop = asyncio.new_event_loop()

    def client(*storage: Any) -> Any:
        options = {"cache_storage": storage[0]} if storage else {}
        server: Any = FastMCP("s", middleware=[ResponseCachingMiddleware(**options)])

        @server.tool
        def answer(question: str) -> dict[str, Any]:
            return VALUE

        made = Client(server)
        loop.run_until_complete(made.__aenter__())  # stays open until the process ends
        return made

    ours, own = client(CacheCoreStore(Cache("memory://", ttl=600))), client()
    return Row(
        framework="FastMCP",
        call="`call_tool` of a client in this process",
        packages=("fastmcp",),
        ours=awaited(loop, lambda: ours.call_tool("answer", {"question": "q"})),
        own=awaited(loop, lambda: own.call_tool("answer", {"question": "q"})),
        own_is="its middleware on its store in memory",
    )


def fastapi() -> Row:
    import httpx
    from fastapi import APIRouter, FastAPI

    from cachecore_frameworks.fastapi import CachedRoute, cached

    loop = asyncio.new_event_loop()
    cache = Cache("memory://", ttl=600)
    app, router = FastAPI(), APIRouter(route_class=CachedRoute)

    @router.get("/cached")
    @cached(cache, ttl=600)
    async def route() -> dict[str, Any]:
        return VALUE

    @app.get("/bare")
    async def bare() -> dict[str, Any]:
        return VALUE

    app.include_router(router)
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://b")
    return Row(
        framework="FastAPI",
        call="a request of a client in this process",
        packages=("fastapi",),
        ours=awaited(loop, lambda: client.get("/cached")),
        own=awaited(loop, lambda: client.get("/bare")),
        own_is="none: a route that computes nothing",
    )


CASES = {
    "django": django,
    "flask_caching": flask_caching,
    "key_value.aio": keyvalue,
    "fastmcp": fastmcp,
    "fastapi": fastapi,
}
"""By the package that each needs."""
