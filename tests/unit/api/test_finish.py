"""`finish=True`: a computation that was paid for is not thrown away because its caller had no more time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cachecore import OptionsError
from tests.unit.virtual_caches import Answer, Scene, virtual


@virtual
async def test_a_caller_that_gives_up_and_tries_again_pays_once(scene: Scene) -> None:
    """A gateway waits 0.3 s for a call of 0.5 s, five times: without `finish` each try begins anew."""
    for finish, answers, calls in ((False, [None] * 5, 5), (True, [None, 1, 1, 1, 1], 1)):
        cache, work = scene.cache(finish=finish), Answer(0.5)
        got: list[Any] = []
        for _ in range(5):
            try:
                async with asyncio.timeout(0.3):
                    got.append(await cache.get_or_set(["q", finish], work))
            except TimeoutError:
                got.append(None)
        assert (got, work.calls) == (answers, calls)


@virtual
async def test_a_batch_goes_on_as_well(scene: Scene) -> None:
    cache = scene.cache(finish=True)
    asked: list[str] = []

    async def compute(names: list[str]) -> dict[str, str]:
        asked.extend(names)
        await asyncio.sleep(0.5)
        return {name: name.upper() for name in names}

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await cache.get_or_set_many(["a", "b"], compute)
    await asyncio.sleep(0.3)
    assert await cache.get_many(["a", "b"]) == {"a": "A", "b": "B"}
    assert asked == ["a", "b"]


@virtual
async def test_it_is_bounded_by_the_time_of_a_computation(scene: Scene) -> None:
    cache, work = scene.cache(finish=True, factory_timeout=2), Answer(100)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await cache.get_or_set("q", work)
    await asyncio.sleep(3)
    assert (work.calls, work.cancelled) == (1, 1)
    with pytest.raises(OptionsError, match="finish must be True or False, not 1"):
        scene.cache(finish=1)
