"""Cached methods: what of their object is part of the request."""

from __future__ import annotations

from typing import Any, assert_type

import pytest

from cachecore import Lookup
from cachecore.api.decorators import BoundCached, CachedFunction
from tests.unit.virtual_caches import Scene, virtual


@virtual
async def test_methods_keep_their_types(scene: Scene) -> None:
    cache = scene.cache()

    class Model:
        @cache.cached
        async def ask(self, q: str, times: int = 1) -> list[str]:
            return [q] * times

    model = Model()
    assert_type(await model.ask("a", times=2), list[str])
    assert_type(await model.ask.lookup("a"), Lookup[list[str]])
    assert_type(model.ask.key("a"), str)
    assert isinstance(model.ask, BoundCached)
    with pytest.raises(TypeError):
        await model.ask(1, 2, 3)  # type: ignore[arg-type, call-arg]  # what a type checker must refuse


@virtual
async def test_a_methods_object_does_not_count_but_its_class_does(scene: Scene) -> None:
    """Another class may answer otherwise through what the method calls."""
    cache = scene.cache()

    class Model:
        name = "model"

        def __init__(self, connection: object = None) -> None:
            self.connection = connection

        @cache.cached
        async def ask(self, q: str) -> str:
            return f"{self.name} {q}"

    class Other(Model):
        name = "other"

    assert await Model(object()).ask("a") == "model a"
    assert await Model(object()).ask(q="a") == "model a"
    assert await Other().ask("a") == "other a"
    assert await Model.ask(Other(), "a") == "other a"
    assert Model.ask.key(Model(), "a") == Model().ask.key("a") == Model(1).ask.key("a") != Other().ask.key("a")
    assert cache.stats.factory_calls == 2
    assert (await Model().ask.lookup("a")).outcome == "hit"
    assert await Model().ask.invalidate("a") is True
    assert await Model().ask.refresh("a") == "model a"
    assert await Other().ask.invalidate("a") is True


@virtual
async def test_an_object_may_say_itself_what_counts_of_it(scene: Scene) -> None:
    cache = scene.cache()

    class Model:
        def __init__(self, name: str) -> None:
            self.name = name

        def __cachecore_key__(self) -> str:
            return self.name

        @cache.cached
        async def ask(self, q: str) -> str:
            return f"{self.name} {q}"

        @cache.cached
        @classmethod
        async def count(cls, q: str) -> int:
            return len(q)

    assert [await Model(name).ask("q") for name in "aba"] == ["a q", "b q", "a q"]
    assert cache.stats.factory_calls == 2
    assert Model("a").ask.key("q") != Model("b").ask.key("q")
    model: Any = Model  # type checkers know functions below `classmethod` only
    assert await model.count("abc") == await model("a").count("abc") == 3


@virtual
async def test_class_methods_and_static_methods(scene: Scene) -> None:
    cache = scene.cache()

    class Model:
        @cache.cached
        @classmethod
        async def ask(cls, q: str) -> str:
            return f"{cls.__name__} {q}"

        @cache.cached
        @staticmethod
        async def say(cls: str, q: str) -> str:
            return f"{cls} {q}"

        @classmethod
        @cache.cached
        async def ask_below(cls, q: str) -> str:
            return f"{cls.__name__} {q}"

        @staticmethod
        @cache.cached
        async def say_below(q: str) -> str:
            return q

    class Other(Model):
        pass

    model: Any = Model  # type checkers know functions below `classmethod` only
    other: Any = Other
    for _ in range(2):
        assert [await one.ask("a") for one in (model, other, model(), other())] == ["Model a", "Other a"] * 2
        assert [await one.ask_below("a") for one in (model, other, model(), other())] == ["Model a", "Other a"] * 2
        assert [await one.say("x", "a") for one in (model, other())] == ["x a", "x a"]
        assert [await one.say("y", "a") for one in (model, other())] == ["y a", "y a"]
        assert [await one.say_below("a") for one in (model, other())] == ["a", "a"]
    assert cache.stats.factory_calls == 7
    assert model.ask.key("a") == model().ask.key("a") != other.ask.key("a")
    assert await other.ask.refresh("a") == "Other a"
    assert [await model.ask.invalidate("a") for _ in range(2)] == [True, False]
    assert await model.say_below.invalidate("a") is True


@virtual
async def test_a_class_method_that_cannot_know_its_class_says_so(scene: Scene) -> None:
    """From Python 3.13 on `classmethod` hands on nothing but the call: without its class `.key` would be another's."""
    cache = scene.cache()

    class Model:
        @cache.cached
        async def ask(cls, q: str = "a", r: str = "b") -> str:
            return f"{q} {r}"

    lost: CachedFunction[..., str] = Model.__dict__["ask"]
    with pytest.raises(TypeError, match="above classmethod"):
        lost.key("q")
    with pytest.raises(TypeError, match="above classmethod"):
        await lost.invalidate("q")
    assert lost.key(Model, "q") != lost.key(Model, "r")


@virtual
async def test_parameters_that_are_only_called_self_or_cls_count(scene: Scene) -> None:
    cache = scene.cache()

    @cache.cached
    async def classify(cls: str, text: str) -> str:
        return f"{cls} {text}"

    @cache.cached
    async def know(self: str) -> str:
        return self

    assert [await classify(cls, "a") for cls in ("spam", "ham")] == ["spam a", "ham a"]
    assert [await know(self) for self in ("a", "b")] == ["a", "b"]
