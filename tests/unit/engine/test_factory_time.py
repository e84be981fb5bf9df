"""`factory_timeout` counts from when the factory begins to work, as far as that can be told."""

from __future__ import annotations

import asyncio

import pytest

from cachecore.engine.flights.flight import current_flight
from tests.unit.virtual_caches import Answer, Scene, virtual


@virtual
async def test_time_begins_when_the_work_does(scene: Scene) -> None:
    """What hands a factory to a thread says when the thread has come to it."""
    cache = scene.cache(factory_timeout=0.7)

    async def queued() -> str:
        await asyncio.sleep(0.5)
        flight = current_flight()
        assert flight is not None
        flight.restart_timer()
        await asyncio.sleep(0.5)
        return "in time"

    assert await cache.get_or_set("q", queued) == "in time"
    with pytest.raises(TimeoutError):
        await cache.get_or_set("slow", Answer(1))


@virtual
async def test_ten_minutes_by_default(scene: Scene) -> None:
    """62 questions of 4 s that wait for one place inside their function, 248 s at most, are not cut off."""
    cache = scene.cache()
    places = asyncio.Semaphore(1)

    @cache.cached(name="ask")
    async def ask(number: int) -> int:
        async with places:
            await asyncio.sleep(4)
        return number

    assert await asyncio.gather(*map(ask, range(62))) == list(range(62))
    assert await cache.get_or_set("slow", Answer(599)) == 1
    with pytest.raises(TimeoutError):
        await cache.get_or_set("slower", Answer(601))
