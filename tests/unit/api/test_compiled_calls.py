"""Cached functions whose arguments Python binds itself: nothing about a call but its time differs."""

from __future__ import annotations

import functools
import inspect
from contextvars import ContextVar
from itertools import permutations
from typing import Any

import pytest

from cachecore import SyncCache
from tests.unit.virtual_caches import Scene, virtual


@virtual
async def test_every_kind_of_parameter_arrives_as_given(scene: Scene) -> None:
    cache = scene.cache()

    @cache.cached(name="f")
    async def f(a: int, b: int = 2, /, c: int = 3, *, d: int, e: int = 5) -> str:
        return repr((a, b, c, d, e))

    for _ in range(2):
        assert await f(1, d=4) == "(1, 2, 3, 4, 5)"
        assert await f(1, 7, c=8, e=9, d=0) == "(1, 7, 8, 0, 9)"
        assert await f(1, 7, 8, d=0, e=9) == "(1, 7, 8, 0, 9)"
    assert (cache.stats.computed, cache.stats.hits_l1) == (2, 4)
    bad: list[tuple[tuple[Any, ...], dict[str, Any]]] = [((), {"d": 1}), ((1,), {}), ((1, 2, 3, 4), {"d": 1})]
    bad += [((1,), {"d": 1, "b": 2}), ((1,), {"d": 1, "x": 2}), ((1, 2, 3), {"d": 1, "c": 2})]
    for args, kwargs in bad:
        with pytest.raises(TypeError, match=r"\bf\(\)"):
            await f(*args, **kwargs)


@virtual
async def test_names_that_the_compiled_function_could_use_itself(scene: Scene) -> None:
    cache = scene.cache()

    @cache.cached(name="f")
    async def f(
        type: int,  # noqa: A002 - the names are the point
        map: int,  # noqa: A002
        TypeError: int,  # noqa: A002
        cc_memo: int,
        *,
        UNSET: int,
        cc__call: int = 6,
        été: int = 7,
    ) -> str:
        return repr((type, map, TypeError, cc_memo, UNSET, cc__call, été))

    for _ in range(2):
        assert await f(1, 2, 3, cc_memo=4, UNSET=5) == "(1, 2, 3, 4, 5, 6, 7)"
    assert cache.stats.hits_l1 == 1


@virtual
async def test_mangled_names(scene: Scene) -> None:
    cache = scene.cache()

    class Holder:
        @staticmethod
        @cache.cached(name="f")
        async def f(__q: int, *, __r: int = 1) -> str:
            return repr((__q, __r))

    call: Any = Holder.f
    for _ in range(2):
        assert await call(1) == "(1, 1)"
        assert await call(_Holder__q=1, _Holder__r=2) == "(1, 2)"
    assert (cache.stats.computed, cache.stats.hits_l1) == (2, 2)


@virtual
async def test_defaults_are_the_objects_of_the_function(scene: Scene) -> None:
    cache, default, seen = scene.cache(), ["a"], list[Any]()

    @cache.cached(name="f")
    async def f(q: Any = default, *, r: Any = default) -> int:
        seen.extend([q, r])
        return len(q)

    assert await f() == 1
    default.append("b")  # another request, as it was before
    assert await f() == 2
    assert all(one is default for one in seen)


@virtual
async def test_a_list_that_changes_between_calls_is_another_request(scene: Scene) -> None:
    cache, words = scene.cache(), ["a"]

    @cache.cached(name="f")
    async def f(q: list[str], n: int = 0) -> str:
        return repr(q)

    assert [await f(words), await f(words)] == ["['a']"] * 2
    words.append("b")
    assert [await f(words), await f(q=words)] == ["['a', 'b']"] * 2
    assert cache.stats.computed == 2


@pytest.mark.parametrize("given", list(permutations([0.0, -0.0, 0, False]))[::5])
def test_zeros_of_every_type_and_sign_are_told_apart(given: tuple[Any, ...]) -> None:
    with SyncCache("memory://", ttl=60) as cache:
        calls: list[Any] = []

        @cache.cached(name="f")
        def f(a: Any, *, b: Any = 1.5) -> str:
            calls.append((a, b))
            return repr((a, b))

        for _ in range(3):
            for a in given:
                for b in reversed(given):
                    assert [f(a, b=b), f(a=a, b=b)] == [repr((a, b))] * 2
        assert len(calls) == len(given) ** 2


@virtual
async def test_nan_is_one_request(scene: Scene) -> None:
    cache, nan = scene.cache(), float("nan")

    @cache.cached(name="f")
    async def f(a: float) -> str:
        return repr(a)

    assert [await f(nan), await f(nan), await f(float("nan"))] == ["nan"] * 3
    assert cache.stats.computed == 1


@virtual
async def test_a_call_is_known_whatever_an_excluded_argument_is(scene: Scene) -> None:
    """It needs no hash either; but a tag made of it counts."""
    cache = scene.cache()

    @cache.cached(name="f", exclude=["client"])
    async def f(client: Any, q: str) -> str:
        return q

    @cache.cached(name="g", exclude=["user"], tags=["user:{user}"])
    async def g(user: str, q: str) -> str:
        return f"{user} {q}"

    for client in ({}, [], object(), None):
        assert await f(client, "a") == "a"
    assert (cache.stats.computed, cache.stats.hits_l1) == (1, 3)
    assert [await g("ann", "a"), await g("ann", "a")] == ["ann a"] * 2
    assert await g("bob", "a") == "bob a"  # the answer of another user's tag is none


@virtual
async def test_values_that_answers_vary_by_are_part_of_a_known_call(scene: Scene) -> None:
    cache, tenant = scene.cache(), ContextVar[Any]("tenant", default="a")

    @cache.cached(name="f", vary=tenant)
    async def f(q: str) -> str:
        return f"{tenant.get()!r} {q}"

    for given in ("a", "b", 1, True, "a", 1):
        tenant.set(given)
        for _ in range(2):
            assert await f("q") == f"{given!r} q"
    assert cache.stats.computed == 4


@virtual
async def test_decorators_below_see_calls_as_they_were_made(scene: Scene) -> None:
    cache, seen = scene.cache(), list[Any]()

    def noting(function: Any) -> Any:
        @functools.wraps(function)
        async def call(*args: Any, **kwargs: Any) -> Any:
            seen.append((args, kwargs))
            return await function(*args, **kwargs)

        return call

    @cache.cached(name="f")
    @noting
    async def f(a: int, b: int = 2) -> int:
        return a + b

    assert [await f(a=1), await f(a=1), await f(1, 2)] == [3, 3, 3]
    assert seen == [((), {"a": 1})]


@virtual
async def test_stack_of_an_error_names_the_function(scene: Scene) -> None:
    cache = scene.cache()

    @cache.cached(name="f")
    async def f(a: int) -> int:
        raise ValueError(a)

    assert inspect.iscoroutinefunction(f)
    with pytest.raises(ValueError, match="7"):
        await f(7)
