"""`@cache.cached` of a `SyncCache`: the same as that of `Cache`, for functions that are not async."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, assert_type

import pytest

from cachecore import Cache, Computed, Lookup, OptionsError, SyncCache, bypass


@pytest.fixture
def cache() -> Iterator[SyncCache[object]]:
    with SyncCache[object]("memory://", ttl=60) as made:
        yield made


def upper(q: str) -> str:
    return q.upper()


def test_function_keeps_its_types_and_its_name(cache: SyncCache[object]) -> None:
    @cache.cached(ttl=5)
    def ask(q: str, *, times: int = 1) -> list[str]:
        """Ask."""
        return [q] * times

    assert_type(ask("a", times=2), list[str])
    assert_type(ask.lookup("a", times=2), Lookup[list[str]])
    assert_type(ask.refresh("a"), list[str])
    assert_type(ask.key("a"), str)
    assert_type(ask.invalidate("a"), bool)
    function: Any = ask
    assert (function.__name__, function.__doc__, inspect.isfunction(ask)) == ("ask", "Ask.", True)


def test_answers_are_computed_once_in_the_callers_thread(cache: SyncCache[object]) -> None:
    calls: list[tuple[int, int]] = []

    @cache.cached(name="ask")
    def ask(a: int, b: int = 2) -> int:
        calls.append((a, threading.get_ident()))
        return a + b

    assert [ask(1), ask(a=1), ask(1, 2), ask(b=2, a=1)] == [3] * 4
    assert calls == [(1, threading.get_ident())]
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(ask, 1).result() == 3
        assert pool.submit(ask, 2).result() == 4
        assert calls[1] == (2, pool.submit(threading.get_ident).result())
    with pytest.raises(TypeError):
        ask()  # type: ignore[call-arg]  # the function's own complaint


def test_it_shares_answers_with_the_async_cache() -> None:
    """One cache, two faces: what one decorates under a name the other may not."""
    shared: Cache[object] = Cache("memory://", ttl=60)
    with SyncCache[object](shared) as cache:

        @cache.cached(name="ask")
        def ask(q: str) -> str:
            return q.upper()

        assert ask("a") == "A"
        assert shared.peek(key=ask.key("a")) == "A"

        async def other(q: str) -> str:
            return q

        with pytest.raises(OptionsError, match="two functions"):
            shared.cached(name="ask")(other)


def test_a_hit_in_memory_never_enters_the_loop() -> None:
    def ask(q: str) -> str:
        return q.upper()

    shared: Cache[object] = Cache("memory://", ttl=60)
    with SyncCache[object](shared) as first:
        assert first.cached(name="ask")(ask)("a") == "A"
        before = threading.active_count()
        again = SyncCache[object](shared).cached(name="ask")(ask)
        assert again("a") == again(q="a") == "A"

        async def from_a_loop() -> str:
            return again("a")

        assert asyncio.run(from_a_loop()) == "A"
        assert threading.active_count() == before


def test_invalidate_refresh_and_lookup(cache: SyncCache[object]) -> None:
    answers = iter(range(10))

    @cache.cached(name="ask")
    def ask(q: str) -> int:
        return next(answers)

    assert ask.lookup("a").outcome == "computed"
    assert (ask.lookup("a").outcome, ask("a")) == ("hit", 0)
    assert ask.refresh("a") == ask("a") == 1
    assert ask.invalidate("a") is True
    assert ask.invalidate("a") is False
    assert ask("a") == 2
    with bypass():
        assert ask("a") == 3
    assert ask("a") == 2


def test_tags_ttl_and_excluded_parameters(cache: SyncCache[object]) -> None:
    calls: list[str] = []

    @cache.cached(name="ask", tags=lambda q, trace=None: [f"doc:{q}"], exclude=["trace"])
    def ask(q: str, trace: object = None) -> str:
        calls.append(q)
        return q

    assert [ask("a", object()), ask("a", object()), ask("b")] == ["a", "a", "b"]
    cache.invalidate_tags("doc:a")
    assert [ask("a"), ask("b")] == ["a", "b"]
    assert calls == ["a", "b", "a"]

    @cache.cached(name="fixed", tags=["all"])
    def fixed(q: str) -> str:
        calls.append(q)
        return q

    assert [fixed("c"), fixed("c")] == ["c", "c"]
    cache.invalidate_tags("all")
    assert fixed("c") == "c"
    assert calls == ["a", "b", "a", "c", "c"]
    with pytest.raises(OptionsError, match="ttl"):
        cache.cached(ttl=0)
    with pytest.raises(OptionsError, match="no parameter 'other'"):
        cache.cached(exclude=["other"])(upper)


def test_exceptions_and_answers_that_are_not_to_be_kept(cache: SyncCache[object]) -> None:
    failing = [True]

    @cache.cached(name="ask")
    def ask(q: str) -> str:
        if failing.pop():
            raise LookupError(q)
        return "answer"

    with pytest.raises(LookupError, match="a"):
        ask("a")
    failing.append(False)
    assert ask("a") == "answer"

    @cache.cached(name="once")
    def once(q: str) -> Any:
        failing.append(True)
        return Computed(q, store=False)

    failing.clear()
    assert [once("a"), once("a")] == ["a", "a"]
    assert failing == [True, True]


def test_methods_class_methods_and_static_methods(cache: SyncCache[object]) -> None:
    calls: list[str] = []

    class Model:
        name = "model"

        @cache.cached(name="ask")
        def ask(self, q: str) -> str:
            calls.append(q)
            return f"{self.name} {q}"

        @cache.cached
        @classmethod
        def count(cls, q: str) -> str:
            return f"{cls.__name__} {q}"

        @cache.cached
        @staticmethod
        def clean(q: str) -> str:
            return q.strip()

    class Other(Model):
        name = "other"

    model = Model()
    assert_type(model.ask("a"), str)
    assert [model.ask("a"), Model().ask(q="a"), Other().ask("a"), Model.ask(model, "a")] == [
        "model a",
        "model a",
        "other a",
        "model a",
    ]
    assert calls == ["a", "a"]
    assert Model.ask.key(model, "a") == Model.ask.key(Model(), "a") != Other.ask.key(Other(), "a")
    assert Model.ask.lookup(model, "a").outcome == "hit"
    assert model.ask.refresh(model, "a") == "model a"
    assert Model.ask.invalidate(model, "a") is True
    with pytest.raises(TypeError, match=r"Model\.ask takes an object of Model first, not a str"):
        Model.ask.invalidate("a")  # type: ignore[call-arg, arg-type]  # what a type checker must refuse
    made: Any = Model  # type checkers know functions below `classmethod` only
    other: Any = Other
    assert (made.count("a"), other.count("a"), made().clean(" a ")) == ("Model a", "Other a", "a")


async def _async(q: str) -> str:
    return q


def _generator(q: str) -> Iterator[str]:
    yield q


async def _async_generator(q: str) -> AsyncIterator[str]:
    yield q


class _Callable:
    async def __call__(self, q: str) -> str:
        return q


@pytest.mark.parametrize("wrong", [_async, _generator, _async_generator, _Callable()])
def test_only_functions_that_return_their_answer_are_taken(cache: SyncCache[object], wrong: Callable[..., Any]) -> None:
    with pytest.raises(OptionsError, match=r"Cache\.cached is for async functions"):
        cache.cached(name="wrong")(wrong)


def test_what_has_no_name_of_its_own_needs_one(cache: SyncCache[object]) -> None:
    def ask(q: str, times: int) -> str:
        return q * times

    with pytest.raises(OptionsError, match=r"cached\(name=…\)"):
        cache.cached(partial(ask, times=2))
    assert cache.cached(name="twice")(partial(ask, times=2))("a") == "aa"


def test_pinned_tags_invalidate(cache: SyncCache[object]) -> None:
    """A tag that a factory pins counts from then on: what is invalidated while it computes is born dead."""

    @cache.cached(name="ask")
    def ask(q: str, *, meanwhile: bool) -> str:
        cache.pin_tag("doc")
        if meanwhile:
            cache.invalidate_tags("doc")
        return q

    assert ask("a", meanwhile=False) == "a"
    assert ask.lookup("a", meanwhile=False).outcome == "hit"
    cache.invalidate_tags("doc")
    assert ask.lookup("a", meanwhile=False).outcome == "computed"
    assert ask("a", meanwhile=True) == "a"
    assert ask.lookup("a", meanwhile=True).outcome == "computed"
    cache.pin_tag("doc")  # outside of a factory it does nothing


def test_both_faces_have_the_same_names() -> None:
    """Whoever knows one cache knows the other."""

    def names(of: type) -> set[str]:
        return {name for name in dir(of) if not name.startswith("_")}

    inner = {"aclose", "hand_over", "sweep_tag"}  # a factory that hands over sends its answer in the loop
    assert names(Cache) - inner == names(SyncCache) - {"close"}
