"""What is given for a factory and is none: the error says what was given and what to write."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from cachecore import SyncCache, bypass
from tests.unit.virtual_caches import Scene, virtual


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: lambda *_: [1, 2], "the factory returned a list, which cannot be awaited: write `async def`"),
        (lambda: "a value", "the factory must be a function, not a str"),
        (lambda: asyncio.sleep(0), "the factory is a coroutine, which could be awaited once: give the function itself"),
    ],
)
def test_a_factory_that_is_not_async_is_named(make: Callable[[], Any], message: str) -> None:
    @virtual
    async def check(scene: Scene) -> None:
        cache = scene.cache()
        calls: list[Callable[[Any], Any]] = [
            lambda factory: cache.get_or_set("q", factory),
            lambda factory: cache.refresh("q", factory),
            lambda factory: cache.lookup("q", factory),
            lambda factory: cache.get_or_set_many(["q"], factory),
        ]
        for call in calls:
            for around in (False, True):
                with pytest.raises(TypeError, match=message):
                    if around:
                        with bypass():
                            await call(make())
                    else:
                        await call(make())
        assert await cache.get("q") is None

    check()


def test_a_factory_that_is_async_or_no_function_is_named() -> None:
    async def answer() -> str:
        return "a"

    with SyncCache("memory://", ttl=60) as cache:
        with pytest.raises(TypeError, match="the factory is async and returned a coroutine: SyncCache takes functions"):
            assert cache.get_or_set("q", answer) is None
        with pytest.raises(TypeError, match="must be a function, not a str"):
            cache.get_or_set("q", "a")  # type: ignore[call-overload]  # what a type checker must refuse
        with pytest.raises(TypeError, match="the factory is a coroutine"):
            cache.get_or_set("q", answer())  # type: ignore[call-overload]  # the same
