"""`@cache.cached`: which calls are one request, and what the decorated function can do."""

from __future__ import annotations

import asyncio
import inspect
import tracemalloc
from collections import UserString
from collections.abc import Awaitable
from typing import Any, assert_type

import pytest

from cachecore import Cache, Computed, Lookup, OptionsError, UnkeyableError, bypass
from cachecore.api.function_types import CachedFunction
from tests.unit.virtual_caches import Scene, virtual


class Text(str):
    """A subclass of str: the same text, and so the same request."""

    __slots__ = ()


def echo(cache: Cache[Any], **options: Any) -> tuple[CachedFunction[[Any], str], list[Any]]:
    """Return a cached function that answers the repr of its argument, and the list of arguments it was called with."""
    calls: list[Any] = []

    async def say(q: Any) -> str:
        calls.append(q)
        return f"{type(q).__name__} {q!r}"

    return cache.cached(name="say", **options)(say), calls


@virtual
async def test_function_keeps_its_types_and_its_name(scene: Scene) -> None:
    cache = scene.cache()

    @cache.cached(ttl=5)
    async def ask(q: str, *, times: int = 1) -> list[str]:
        """Ask."""
        return [q] * times

    assert_type(await ask("a", times=2), list[str])
    assert_type(await ask.lookup("a", times=2), Lookup[list[str]])
    assert_type(await ask.refresh("a"), list[str])
    assert_type(ask.key("a"), str)
    assert_type(await ask.invalidate("a"), bool)
    function: Any = ask
    assert (function.__name__, function.__doc__, function.__wrapped__.__name__) == ("ask", "Ask.", "ask")
    assert inspect.isfunction(ask)
    assert inspect.iscoroutinefunction(ask)
    assert inspect.signature(ask) == inspect.signature(function.__wrapped__)


@virtual
async def test_however_an_argument_is_passed_it_is_one_request(scene: Scene) -> None:
    cache, calls = scene.cache(), []

    @cache.cached(name="ask")
    async def ask(a: int, b: int = 2, *more: int, c: int = 3, **rest: int) -> int:
        calls.append(a)
        return a

    same = [ask.key(1), ask.key(a=1), ask.key(1, 2), ask.key(1, b=2), ask.key(b=2, a=1), ask.key(1, 2, c=3)]
    assert len(set(same)) == 1
    others = [ask.key(2), ask.key(1, 3), ask.key(1, 2, 4), ask.key(1, c=4), ask.key(1, d=4), ask.key(1, d=4, e=5)]
    assert len({*same, *others}) == 7
    assert ask.key(1, d=4, e=5) == ask.key(1, e=5, d=4)
    for _ in range(2):
        await ask(1)
        await ask(a=1)
        await ask(1, 2, c=3)
    assert calls == [1]
    with pytest.raises(TypeError):
        await ask()  # type: ignore[call-arg]  # the function's own complaint


@pytest.mark.parametrize("times", [1, 3])
def test_arguments_that_are_equal_in_python_only_are_told_apart(times: int) -> None:
    """Also by the memo of known arguments, in whatever order they come."""
    unlike = [1, True, "1", 1.0, b"1", None, "", 0, False, 0.0, -0.0, "None", "True", float("inf"), 2**70, -1]

    @virtual
    async def check(scene: Scene) -> None:
        say, calls = echo(scene.cache())
        for _ in range(times):
            for q in (*unlike, *reversed(unlike)):
                assert await say(q) == f"{type(q).__name__} {q!r}"
        assert len(calls) == len(unlike)
        assert len({say.key(q) for q in unlike}) == len(unlike)

    check()


@virtual
async def test_subclasses_of_text_are_their_text(scene: Scene) -> None:
    """One request; but not recognised as known before they were looked at: a subclass may compare as it likes."""
    say, calls = echo(scene.cache())

    class Liar(str):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return hash("a")

    assert await say("a") == "str 'a'"
    assert await say(Text("a")) == "str 'a'"
    assert await say(Liar("b")) == "Liar 'b'"
    assert await say("b") == "Liar 'b'"
    assert len(calls) == 2
    with pytest.raises(UnkeyableError):
        await say(UserString("a"))


@virtual
async def test_arguments_without_a_hash_or_a_form(scene: Scene) -> None:
    say, calls = echo(scene.cache())
    for _ in range(2):
        assert await say(["a", {"b": [1]}]) == "list ['a', {'b': [1]}]"
        assert await say({"b": 1, "a": 2}) == "dict {'b': 1, 'a': 2}"
        assert await say({"a": 2, "b": 1}) == "dict {'b': 1, 'a': 2}"
    assert len(calls) == 2
    with pytest.raises(UnkeyableError, match=r"arguments\.q"):
        await say(object())


@virtual
async def test_memo_of_known_arguments_is_bounded(scene: Scene) -> None:
    """By the bytes that the tier in memory may have, whatever the arguments are, and copies come first."""
    cache = scene.cache(l1_max_bytes=8 << 20)

    @cache.cached
    async def measure(q: str | bytes | int) -> int:
        return len(str(q)) if isinstance(q, str) else 0

    tracemalloc.start()
    try:
        for number in range(100):  # 50 MB
            await measure("x" * 200_000 + str(number))
            await measure(2 ** (8 * 100_000) + number)
            await measure(b"x" * 200_000 + str(number).encode())
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 10_000_000
    assert len(cache._engine.l1) == 300
    assert 0 < cache.stats.l1_bytes <= 8 << 20
    assert await measure("x" * 200_000 + "77") == 200_002


@virtual
async def test_answers_that_can_change_are_nobody_elses(scene: Scene) -> None:
    cache = scene.cache()

    @cache.cached
    async def ask(q: str) -> list[str]:
        return [q]

    for _ in range(3):
        (await ask("a")).append("spoilt")
    assert await ask("a") == ["a"]


@virtual
async def test_invalidate_refresh_key_and_lookup(scene: Scene) -> None:
    cache, number = scene.cache(), iter(range(10))

    @cache.cached(name="ask")
    async def ask(q: str) -> int:
        return next(number)

    assert await ask.invalidate("a") is False
    assert (await ask.lookup("a")).outcome == "computed"
    assert (await ask.lookup("a")).outcome == "hit"
    assert await ask.refresh(q="a") == 1
    assert await ask("a") == 1
    assert cache.peek(key=ask.key("a")) == 1
    assert await ask.invalidate(q="a") is True
    assert await ask("a") == 2
    assert cache.stats.factory_calls == 3


@virtual
async def test_ttl_is_the_functions_own(scene: Scene) -> None:
    cache = scene.cache(ttl=60)
    say, calls = echo(cache, ttl=5)
    await say("a")
    await asyncio.sleep(4)
    await say("a")
    await asyncio.sleep(2)
    await say("a")
    assert len(calls) == 2
    with pytest.raises(OptionsError):
        cache.cached(ttl=0)(_nothing)


@virtual
async def test_tags_may_depend_on_the_arguments(scene: Scene) -> None:
    cache, calls = scene.cache(), []

    @cache.cached(name="summary", tags=lambda doc, lang="en": [f"doc:{doc}", lang])
    async def summary(doc: int, lang: str = "en") -> int:
        calls.append(doc)
        return doc

    async def ask() -> None:
        await summary(1)
        await summary(2)
        await summary(doc=1, lang="de")

    await ask()
    await ask()
    assert len(calls) == 3
    await cache.invalidate_tags("doc:1")
    await ask()
    assert calls[3:] == [1, 1]
    await cache.invalidate_tags("en")
    await ask()
    assert calls[5:] == [1, 2]


@virtual
async def test_fixed_tags_count_in_memory_too(scene: Scene) -> None:
    """Whatever another name of the function has stored: an answer without the tag is none."""
    cache = scene.cache()
    plain, _ = echo(cache)
    tagged, calls = echo(cache, tags=["t"])
    await plain("a")
    await tagged("a")
    assert len(calls) == 1
    await tagged("a")
    await cache.invalidate_tags("t")
    await tagged("a")
    assert len(calls) == 2
    with pytest.raises(OptionsError):
        cache.cached(tags="one string")(_nothing)


@virtual
async def test_excluded_parameters_do_not_count(scene: Scene) -> None:
    cache, calls = scene.cache(), []

    @cache.cached(name="ask", exclude=["session"])
    async def ask(q: str, session: object) -> str:
        calls.append(session)
        return q

    first = object()
    await ask("a", first)
    await ask("a", session=object())
    assert calls == [first]
    with pytest.raises(OptionsError, match="'q'"):
        cache.cached(exclude=["q"])(_nothing)


async def _nothing() -> None:
    return None


@virtual
async def test_bypass_calls_the_function_and_keeps_nothing(scene: Scene) -> None:
    cache = scene.cache()
    say, calls = echo(cache)
    await say("a")
    with bypass():
        await say("a")
        await say("b")
        assert (await say.lookup("a")).outcome == "bypass"
    assert len(calls) == 4
    assert cache.peek(key=say.key("b")) is None
    await say("a")
    assert len(calls) == 4


@virtual
async def test_exceptions_are_the_functions_own_and_not_kept(scene: Scene) -> None:
    cache, fails = scene.cache(), [True]

    @cache.cached(name="ask")
    async def ask(q: str) -> str:
        if fails:
            fails.pop()
            raise LookupError(q)
        return q

    with pytest.raises(LookupError, match="a"):
        await ask("a")
    assert await ask("a") == "a"


@virtual
async def test_concurrent_calls_share_one(scene: Scene) -> None:
    cache, calls = scene.cache(), []

    @cache.cached(name="ask")
    async def ask(q: str) -> str:
        calls.append(q)
        await asyncio.sleep(1)
        return q

    assert await asyncio.gather(*(ask("a") for _ in range(50)), *(ask(q="a") for _ in range(50))) == ["a"] * 100
    assert calls == ["a"]


@virtual
async def test_computed_says_how_a_calls_answer_is_stored(scene: Scene) -> None:
    cache = scene.cache()

    @cache.cached
    async def ask(q: str) -> Any:
        return Computed(q, store=False)

    assert await ask("a") == "a"
    assert (await ask.lookup("a")).outcome == "computed"


@pytest.mark.parametrize("answer", ["text", ["a", "list"]])
def test_early_refreshes_happen_for_known_arguments_too(answer: Any) -> None:
    @virtual
    async def check(scene: Scene) -> None:
        cache, calls = scene.cache(refresh_ahead=1e6), []

        @cache.cached(name="ask")
        async def ask(q: str) -> Any:
            calls.append(q)
            await asyncio.sleep(1)
            return answer

        for _ in range(3):
            assert await ask("a") == answer
        await asyncio.sleep(2)
        assert len(calls) == 2

    check()


def test_one_function_in_two_event_loops() -> None:
    cache: Cache[Any] = Cache("memory://", ttl=60)
    say, calls = echo(cache)
    for _ in range(3):
        assert asyncio.run(_awaited(say("a"))) == "str 'a'"
    assert len(calls) == 1


async def _awaited(call: Awaitable[Any]) -> Any:
    return await call
