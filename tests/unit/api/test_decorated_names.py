"""The name under which a function is cached: its own, or one it is given, but nobody else's."""

from __future__ import annotations

import functools
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from cachecore import Cache, OptionsError, SyncCache
from tests.unit.virtual_caches import Scene, virtual


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


@virtual
async def test_a_nested_function_with_variables_of_its_own_is_refused_at_once(scene: Scene) -> None:
    """Defined again, it would get the answers of the first; so the first definition is an error, not the second."""
    cache = scene.cache()
    model = "a"

    async def ask(q: str) -> str:
        return f"{model} {q}"

    class Model:
        async def ask(self, q: str) -> str:
            return f"{model} {q}"

        async def parent(self) -> str:
            return super().__repr__()

    for function in (ask, Model.ask):
        with pytest.raises(OptionsError, match=r"uses its variables \(model\).*cached\(name=…\)"):
            cache.cached(function)
    assert await cache.cached(name="ask a")(ask)("q") == "a q"
    cache.cached(Model.parent)  # `super()` is no variable of the function around


async def test_a_nested_function_with_variables_is_refused_at_its_second_definition_where_no_process_shares() -> None:
    """Answers in memory:// end with the process, so its first definition is alone with them."""
    async with Cache[Any]("memory://", ttl=60) as cache:

        def made(model: str) -> Any:
            async def ask(q: str) -> str:
                return f"{model} {q}"

            return cache.cached(ask)

        assert await made("a")("q") == "a q"
        with pytest.raises(OptionsError, match="name of its own"):
            made("b")


@virtual
async def test_a_nested_function_may_call_itself(scene: Scene) -> None:
    """Its own name is a variable of the function around it, and means itself in every process."""
    cache = scene.cache()

    @cache.cached
    async def fib(n: int) -> int:
        return n if n < 2 else await fib(n - 1) + await fib(n - 2)

    assert await fib(15) == 610
    assert cache.stats.computed == 16


@virtual
async def test_two_functions_of_one_name_are_refused(scene: Scene) -> None:
    """They would answer each other's requests."""
    cache = scene.cache()

    def other(kind: bool) -> Any:
        if kind:

            async def ask(q: str) -> str:
                return "one"
        else:

            async def ask(q: str) -> str:
                return "other"

        return cache.cached(ask)

    other(True)
    other(True)
    with pytest.raises(OptionsError, match="name"):
        other(False)


@virtual
async def test_two_things_that_were_given_one_name_are_refused(scene: Scene) -> None:
    cache, a = scene.cache(), Asks("a")

    async def ask(q: str) -> str:
        return q

    for first, second in ((ask, a.ask), (a.ask, Asks("b").ask), (functools.partial(ask), functools.partial(ask))):
        cache.cached(name=repr(first))(first)
        cache.cached(name=repr(first))(first)
        with pytest.raises(OptionsError, match="two functions"):
            cache.cached(name=repr(first))(second)
        cache.scoped("view").cached(name=repr(first))(second)  # another namespace


def test_two_lambdas_of_a_module_never_share_answers() -> None:
    with SyncCache("memory://", ttl=60) as cache:
        with pytest.raises(OptionsError, match=r"every lambda .* cached\(name=…\)"):
            cache.cached(lambda q: q + "a")
        first, second = cache.cached(name="a")(lambda q: q + "a"), cache.cached(name="b")(lambda q: q + "b")
        assert [first("x"), second("x")] == ["xa", "xb"]


@virtual
async def test_a_function_that_is_decorated_for_each_request_keeps_nothing(scene: Scene) -> None:
    """Its counts go on under its name, and what each decoration made goes with the function."""
    cache = scene.cache()
    made: weakref.WeakSet[Any] = weakref.WeakSet()

    def decorate(number: int) -> Any:
        async def ask(q: str) -> str:
            return f"{q} {number}"

        return cache.cached(name="ask")(ask)

    decorated = decorate(-1)
    await decorated("q")
    for number in range(49):
        decorated = decorate(number)
        made.add(decorated)
        await decorated("q")
    assert (decorated.stats().computed, decorated.stats().hits) == (1, 49)
    gc.collect()
    assert len(made) == 1


@virtual
async def test_functions_of_a_module_may_be_defined_anew(scene: Scene) -> None:
    """As when a module is loaded again, or a cell of a notebook."""
    cache = scene.cache()
    for body in ("return q", "return q * 2"):
        scope: dict[str, Any] = {"__name__": "module", "cache": cache}
        exec(f"@cache.cached\nasync def ask(q):\n    {body}", scope)
        assert await scope["ask"]("a") == "a"
