"""The first stream of a tag that the store has never seen: it makes the tag's stamp, and its feed tells it so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from cachecore import Cache
from cachecore.testing.servers import Server, installed
from tests.redis.waiting import until


@pytest.fixture(params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a real store with a feed."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/cache.db"
        return
    with Server(next(iter(installed().values()))) as server:
        yield server.url


async def test_readers_that_come_late_share_it(store: str) -> None:
    """The echo of one's own stamp is no invalidation; a real one keeps later readers out, as ever."""
    begun, going = 0, asyncio.Event()

    async def source() -> AsyncIterator[str]:
        nonlocal begun
        begun += 1
        yield "a "
        await going.wait()
        yield "b"

    async with Cache[Any](store, ttl=60, backend_timeout=10) as cache:
        await cache.set("warm", 1)
        await until(lambda: cache._engine.feed_state.live)

        def ask() -> Any:
            return cache.stream("q", source, assemble="".join, replay=lambda text: [text], tags=["new"])

        async def doubted() -> bool:
            return any(flight.doubted for state in cache._engine.states() for flight in state.flights._by_key.values())

        first = ask()
        assert await anext(first) == "a "
        if store.startswith("sqlite"):  # Redis tells a connection nothing of its own changes
            await until(doubted)
        second = ask()
        assert await anext(second) == "a "
        assert second.lookup is not None
        assert second.lookup.joined
        async with Cache[Any](store, ttl=60, backend_timeout=10) as other:
            await other.invalidate_tags("new")
        await until(lambda: not any(key.endswith("new") for key in cache._engine.book.current))
        third = ask()
        assert await anext(third) == "a "
        assert begun == 2
        going.set()
        assert [await anext(one) for one in (first, second, third)] == ["b"] * 3
        for one in (first, second, third):
            await one.aclose()
