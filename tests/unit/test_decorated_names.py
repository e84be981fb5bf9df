"""The name under which a function is cached: its own, or one it is given, but nobody else's."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from cachecore import Cache, OptionsError

from .virtual_caches import Scene, virtual


class Asks:
    """Something that can be awaited by calling it, like a client with a model of its own."""

    def __init__(self, model: str) -> None:
        self.model = model

    async def __call__(self, q: str) -> str:
        return f"{self.model} {q}"

    async def ask(self, q: str) -> str:
        return f"{self.model} {q}"


@virtual
async def test_what_has_no_name_of_its_own_needs_one(scene: Scene) -> None:
    """All partials are called alike, and so are all objects of a class; their answers are not alike."""
    cache = scene.cache()

    async def ask(model: str, q: str) -> str:
        return f"{model} {q}"

    for nameless in (functools.partial(ask, "a"), Asks("a")):
        with pytest.raises(OptionsError, match="name="):
            cache.cached(nameless)
    a = cache.cached(name="a")(functools.partial(ask, "a"))
    b = cache.cached(name="b")(Asks("b"))
    assert [await a("q"), await b("q"), await a("q")] == ["a q", "b q", "a q"]
    assert cache.stats.factory_calls == 2


@virtual
async def test_bound_methods_of_two_objects_are_two_functions(scene: Scene) -> None:
    cache = scene.cache()
    a = cache.cached(name="a")(Asks("a").ask)
    b = cache.cached(name="b")(Asks("b").ask)
    assert [await a("q"), await b("q"), await a("q")] == ["a q", "b q", "a q"]
    with pytest.raises(OptionsError, match="name="):
        cache.cached(Asks("c").ask)


@pytest.mark.parametrize("wrong", [len, lambda: 1, Asks, staticmethod(len)])
def test_only_async_functions_are_taken(wrong: Callable[..., Any]) -> None:
    with pytest.raises(OptionsError, match="async"):
        Cache[Any]("memory://", ttl=60).cached(wrong)
