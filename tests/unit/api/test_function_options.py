"""The options of `cached`: tags as templates, `vary`, a policy of its own, counts of its own."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any

import pytest

from cachecore import OptionsError, SyncCache
from tests.unit.virtual_caches import Scene, virtual

locale: ContextVar[str] = ContextVar("locale")
calls: list[Any] = []


async def profile(user_id: int, lang: str = "en") -> str:
    calls.append((user_id, lang))
    return f"{user_id} {lang}"


def sync_profile(user_id: int, lang: str = "en") -> str:
    return f"{user_id} {lang}"


@virtual
async def test_tags_are_templates_of_the_arguments(scene: Scene) -> None:
    cache = scene.cache()
    ask = cache.cached(tags=["users", "user:{user_id}", "lang:{lang!s:>4}", "{{literal}}"])(profile)

    async def misses() -> int:
        calls.clear()
        for user in (1, 2):
            await ask(user)
            await ask(user_id=user, lang="de")
        return len(calls)

    assert [await misses() for _ in range(2)] == [4, 0]
    for tag, missed in (
        ("user:1", 2), ("lang:  de", 2), ("lang:  en", 2), ("users", 4), ("{literal}", 4), ("user:{user_id}", 0),
    ):  # fmt: skip
        await cache.invalidate_tags(tag)
        assert (tag, await misses()) == (tag, missed)
        assert await misses() == 0


@pytest.mark.parametrize(
    ("tag", "words"),
    [
        ("user:{user}", "profile has no parameter 'user'; it has user_id, lang"),
        ("user:{user.id}", "no parameter 'user'"),
        ("user:{}", "no parameter ''"),
        ("user:{0}", "no parameter '0'"),
        ("user:{user_id", "is no template: expected '}'"),
        ("}", "is no template"),
    ],
)
def test_a_placeholder_that_names_no_parameter_is_an_error_while_decorating(tag: str, words: str) -> None:
    with SyncCache("memory://", ttl=60) as cache, pytest.raises(OptionsError) as refused:
        cache.cached(tags=["fixed", tag])(sync_profile)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("tag", "user", "words"),
    [
        ("user:{user_id.name}", 5, ["'user:{user_id.name}'", "profile", "AttributeError", "function of the arguments"]),
        ("user:{user_id[name]}", {}, ["'user:{user_id[name]}'", "KeyError"]),
        ("{lang}", 5, ["'{lang}'", "is empty", "write text around"]),
    ],
)
def test_a_tag_that_does_not_fit_a_call_is_an_error_that_names_it(tag: str, user: Any, words: list[str]) -> None:
    with SyncCache("memory://", ttl=60) as cache, pytest.raises(OptionsError) as refused:
        cache.cached(tags=[tag])(sync_profile)(user, lang="")
    assert [word for word in words if word not in str(refused.value)] == []


@virtual
async def test_attributes_of_an_argument_may_be_in_a_tag(scene: Scene) -> None:
    cache = scene.cache()
    ask = cache.cached(tags=["real:{user_id.real}"])(profile)
    calls.clear()
    await ask(5)
    await cache.invalidate_tags("real:5")
    await ask(5)
    assert len(calls) == 2


@virtual
async def test_what_answers_vary_by_is_part_of_every_request(scene: Scene) -> None:
    """German and French visitors, tenants, flags: read by the function, without being arguments."""
    cache, flags = scene.cache(), {"new": False}

    async def greet(name: str) -> str:
        await asyncio.sleep(0.1)
        return f"{locale.get('?')} {flags['new']} {name}"

    async def visit(language: str | None) -> str:
        if language is not None:
            locale.set(language)
        return await ask("Ann")

    for vary in ([locale, lambda: flags["new"]], (one for one in (locale, lambda: dict(flags)))):
        ask = cache.cached(name=str(type(vary)), vary=vary)(greet)  # type: ignore[arg-type]  # each kind of iterable
        for new in (False, True, False):
            flags["new"] = new
            for _ in range(2):
                got = await asyncio.gather(*(asyncio.create_task(visit(one)) for one in ("de", "fr", None)))
                assert got == [f"{one} {new} Ann" for one in ("de", "fr", "?")]
    assert cache.stats.factory_calls == 12
    single = cache.cached(name="single", vary=locale)(greet)
    key = single.key("Ann")
    token = locale.set("de")
    assert single.key("Ann") != key
    assert await single.invalidate("Ann") is False
    await single("Ann")
    assert (await single.lookup("Ann")).outcome == "hit"
    locale.reset(token)
    assert await single.invalidate("Ann") is False


@pytest.mark.parametrize("wrong", ["locale", 5, [locale, "tenant"], None])
def test_what_answers_vary_by_is_checked(wrong: Any) -> None:
    with SyncCache("memory://", ttl=60) as cache, pytest.raises(OptionsError, match="vary"):
        cache.cached(vary=wrong)(sync_profile)


@virtual
async def test_a_function_has_a_policy_of_its_own(scene: Scene) -> None:
    cache, fails = scene.cache(ttl=60), [False]

    async def ask(q: str) -> str:
        calls.append(q)
        if fails[0]:
            raise LookupError(q)
        return q

    calls.clear()
    rescued = cache.cached(name="rescued", ttl=5, stale_if_error=100, namespace="docs/v3")(ask)
    early = cache.cached(name="early", ttl=5, stale_while_revalidate=100)(ask)
    assert [await rescued("a"), await early("a")] == ["a", "a"]
    await asyncio.sleep(6)
    fails[0] = True
    assert (await rescued.lookup("a")).outcome == "rescued"
    assert (await early.lookup("a")).outcome == "stale"
    assert ":docs/v3:" in rescued.key("a")
    fails[0] = False
    assert await rescued.refresh("a") == "a"
    assert await cache.invalidate_prefix("docs") is not None
    assert (await rescued.lookup("a")).outcome == "computed"
    with pytest.raises(OptionsError, match="cached has no option 'stale_if_eror'; did you mean 'stale_if_error'"):
        cache.cached(stale_if_eror=5)  # type: ignore[call-overload]  # what a type checker must refuse
    with pytest.raises(OptionsError, match="ttl"):
        cache.cached(ttl=0)
    with pytest.raises(OptionsError, match=r"write \['user_id'\]"):
        cache.cached(exclude="user_id")(profile)
    with pytest.raises(OptionsError, match="takes an async function, not 60"):
        cache.cached(60)  # type: ignore[call-overload]  # the same


@virtual
async def test_a_function_that_is_to_finish_goes_on_without_callers(scene: Scene) -> None:
    cache = scene.cache()

    async def think(q: str) -> str:
        calls.append(q)
        await asyncio.sleep(0.5)
        return "42"

    calls.clear()
    ask = cache.cached(name="think", finish=True)(think)
    got = []
    for _ in range(3):
        try:
            async with asyncio.timeout(0.3):
                got.append(await ask("q"))
        except TimeoutError:
            got.append("gave up")
    assert (got, len(calls)) == (["gave up", "42", "42"], 1)


@virtual
async def test_a_function_has_counts_and_all_its_answers_can_be_invalidated(scene: Scene) -> None:
    cache, other = scene.cache(), scene.cache()
    ask = cache.cached(profile)
    elsewhere = other.cached(profile)
    twice = cache.cached(name="twice")(profile)
    for user in (1, 2, 1):
        await ask(user)
        await twice(user)
    assert (ask.stats().hits, ask.stats().computed, ask.stats().stored) == (1, 2, 2)
    assert (cache.stats.hits, cache.stats.computed, cache.stats.factory_calls) == (2, 4, 4)
    await elsewhere.invalidate_all()
    await asyncio.sleep(2)  # without word from the store a copy is trusted for a second
    assert [(await ask.lookup(user)).outcome for user in (1, 2)] == ["computed"] * 2
    assert (await twice.lookup(1)).outcome == "hit"
    await cache.invalidate_tags(f"function:{__name__}.profile")
    assert (await ask.lookup(1)).outcome == "computed"


@virtual
async def test_known_calls_are_told_apart_however_they_are_written(scene: Scene) -> None:
    """By name, by place, in any order, with floats that are equal in Python only."""
    cache = scene.cache()

    async def show(a: Any = None, *, b: Any = None, **rest: Any) -> str:
        return repr((a, b, sorted(rest.items())))

    ask = cache.cached(show)
    ways: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        *(((one,), {}) for one in (0.0, -0.0, 1.5, float("nan"), float("inf"), 1, 1.0, True, "b")),
        *(((), {"a": one}) for one in (0.0, -0.0, 1.5, 1, True)),
        *(((one,), {"b": two}) for one in ("a", "b") for two in ("a", "b", -0.0, 0.0)),
        ((), {"a": "b"}),
        ((), {"b": "a"}),
        (("b", ), {"b": "a"}),
        ((), {"b": "x", "a": "y"}),
        ((), {"a": "x", "b": "y"}),
        ((), {"x": "y"}),
        ((), {"y": "x"}),
    ]  # fmt: skip
    for _ in range(2):
        for args, kwargs in (*ways, *reversed(ways)):
            assert await ask(*args, **kwargs) == await show(*args, **kwargs)
    assert ask.key(1.5) == ask.key(a=1.5)
    assert ask.key("y", b="x") == ask.key(b="x", a="y")
