"""`refresh_factory=`: the factory that refreshes behind answered calls, when their session is closed."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from cachecore import OptionsError, SyncCache, bypass
from cachecore.testing.clocks import FakeClock
from tests.unit.virtual_caches import Scene, virtual


class Session:
    """What a request opens, and closes when it ends."""

    def __init__(self) -> None:
        self.is_open = True

    async def query(self, version: int) -> str:
        await asyncio.sleep(0.01)
        if not self.is_open:
            raise RuntimeError("session is closed")
        return f"v{version}"


@virtual
async def test_without_it_a_closed_session_keeps_the_answer_old_and_with_it_it_becomes_new(scene: Scene) -> None:
    cache, version = scene.cache(ttl=0.1, stale_while_revalidate=30, retry_after=0.05), [1]

    async def load(session: Session, item: int) -> str:
        return await session.query(version[0])

    async def reload(item: int) -> str:
        assert item == 7
        return await Session().query(version[0])

    behind = cache.cached(name="behind", exclude=["session"], refresh_factory=reload)(load)
    alone = cache.cached(name="alone", exclude=["session"])(load)
    got: list[tuple[str, str]] = []
    for _ in range(6):
        session = Session()
        got.append((await alone(session, 7), await behind(session, item=7)))
        session.is_open = False
        version[0] = 2
        await asyncio.sleep(0.15)
    assert got == [("v1", "v1"), ("v1", "v1"), *[("v1", "v2")] * 4]


@virtual
async def test_only_what_runs_behind_calls_it(scene: Scene) -> None:
    """A miss, a refresh that is asked for and a rescue call the factory; a stale answer calls the other one."""
    cache, called = scene.cache(ttl=10, stale_while_revalidate=20), list[str]()

    def named(name: str) -> Callable[[], Any]:
        async def factory() -> str:
            called.append(name)
            return name

        return factory

    async def ask(face: str) -> Any:
        if face == "get_or_set":
            return await cache.get_or_set("q", named("factory"), refresh_factory=named("behind"))
        return (await cache.lookup("q", named("factory"), refresh_factory=named("behind"))).value

    for face in ("get_or_set", "lookup"):
        assert [await ask(face), await ask(face)] == ["factory", "factory"]
        await asyncio.sleep(15)
        assert await ask(face) == "factory"  # the stale one
        await asyncio.sleep(1)
        assert await ask(face) == "behind"
        assert called == ["factory", "behind"]
        await cache.refresh("q", named("factory"))
        assert called.pop() == "factory"
        await asyncio.sleep(31)  # gone altogether
        assert await ask(face) == "factory"
        called.clear()
        await cache.delete("q")
    with bypass():
        assert await ask("get_or_set") == "factory"


@virtual
async def test_an_early_refresh_of_a_copy_in_memory_calls_it_too(scene: Scene) -> None:
    cache, called = scene.cache(ttl=10, refresh_ahead=5.0), list[tuple[Any, ...]]()

    @cache.cached(
        refresh_factory=lambda *names, **more: noted("behind", *names, **more), name="words", exclude=["session"]
    )
    async def words(session: object, first: str, /, *others: str, limit: int = 3, **more: int) -> str:
        return await noted("function", first, *others, limit=limit, **more)

    async def noted(which: str, *names: str, **more: int) -> str:
        await asyncio.sleep(2)
        called.append((which, names, more))
        return which

    assert await words(object(), "a", "b", deep=1) == "function"
    for _ in range(40):
        if await words(object(), "a", "b", deep=1) != "function":
            break
        await asyncio.sleep(0.2)
    assert called == [
        ("function", ("a", "b"), {"limit": 3, "deep": 1}),
        ("behind", ("a", "b"), {"limit": 3, "deep": 1}),
    ]


@virtual
async def test_a_method_gives_its_object(scene: Scene) -> None:
    cache = scene.cache(ttl=10, stale_while_revalidate=20)

    async def reload(self: Any, word: str) -> str:
        return f"{self.language} {word} behind"

    class Translator:
        def __init__(self, language: str, client: object) -> None:
            self.language, self.client = language, client

        @cache.cached(exclude=["self.client"], refresh_factory=reload, name="say")
        async def say(self, word: str) -> str:
            return f"{self.language} {word}"

    french = Translator("fr", object())
    assert await french.say("good") == "fr good"
    await asyncio.sleep(15)
    assert (await Translator.say.lookup(french, "good")).outcome == "stale"
    await asyncio.sleep(1)
    assert await Translator("fr", object()).say("good") == "fr good behind"


@virtual
async def test_it_sees_what_the_answer_varies_by_and_a_failure_keeps_the_old(scene: Scene) -> None:
    cache, fails = scene.cache(ttl=10, stale_while_revalidate=100, retry_after=5), [True]

    async def behind() -> str:
        if fails[0]:
            raise ConnectionError("down")
        return "new"

    async def ask() -> str:
        return await cache.get_or_set("q", lambda: asyncio.sleep(0, "old"), refresh_factory=behind)

    got = [await ask()]
    await asyncio.sleep(11)
    got.append(await ask())
    await asyncio.sleep(1)
    fails[0] = False
    got.append(await ask())  # not tried again yet
    await asyncio.sleep(5)
    got.append(await ask())
    await asyncio.sleep(1)
    assert [*got, await ask()] == ["old", "old", "old", "old", "new"]


@virtual
async def test_a_refresh_that_fails_is_logged_once_without_the_text_of_its_error(scene: Scene) -> None:
    cache, logged = scene.cache(ttl=0.1, stale_while_revalidate=30, retry_after=0.05), list[logging.LogRecord]()

    async def load(session: Session) -> str:
        return await session.query(1)

    async def load_many(names: list[str]) -> dict[str, str]:
        return {name: await session.query(1) for name in names}

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            logged.append(record)

    handler = Handler()
    logging.getLogger("cachecore").addHandler(handler)
    try:
        cached = cache.cached(name="load", exclude=["session"])(load)
        for _ in range(5):
            session = Session()
            await cached(session)
            await cache.get_or_set_many(["a", "b"], load_many)
            session.is_open = False
            await asyncio.sleep(0.15)
    finally:
        logging.getLogger("cachecore").removeHandler(handler)
    one, many = sorted(one.getMessage() for one in logged if one.levelno >= logging.WARNING)
    assert ".load in namespace ''" in one
    assert ".load_many in namespace ''" in many
    for said in (one, many):
        assert "RuntimeError" in said
        assert "refresh_factory" in said
        assert "session is closed" not in said


@virtual
async def test_what_cannot_refresh_is_refused(scene: Scene) -> None:
    cache = scene.cache(ttl=10)

    async def load(session: object, item: int) -> int:
        return item

    async def other(number: int) -> int:
        return number

    with pytest.raises(OptionsError, match=r"refresh_factory of \S*load .*\(item\), and does not take them: .*number"):
        cache.cached(exclude=["session"], refresh_factory=other)(load)
    with pytest.raises(OptionsError, match=r"\(session, item\), and does not take them"):
        cache.cached(refresh_factory=other)(load)
    with pytest.raises(OptionsError, match=r"must be a function of the arguments of .*load, not a int"):
        cache.cached(refresh_factory=5)(load)  # type: ignore[call-overload]  # what a type checker must refuse
    with pytest.raises(OptionsError, match="refresh_factory must be a function, not a int"):
        await cache.get_or_set("q", lambda: other(1), refresh_factory=5)  # type: ignore[call-overload]  # as above
    with pytest.raises(OptionsError, match="refresh_factory takes a factory beside it"):
        await cache.lookup("q", refresh_factory=lambda: other(1))
    with pytest.raises(OptionsError, match="did you mean 'refresh_factory'"):
        cache.cached(refresh_factor=other)  # type: ignore[call-overload]  # as above


def test_threads_refresh_in_a_thread_of_its_own() -> None:
    ran, threads, clock = threading.Event(), list[int](), FakeClock()
    with SyncCache("memory://", ttl=60, stale_while_revalidate=60, clock=clock) as cache:

        def reload(item: int) -> str:
            threads.append(threading.get_ident())
            ran.set()
            return f"new {item}"

        def load(session: object, item: int) -> str:
            return "old"

        cached = cache.cached(exclude=["session"], refresh_factory=reload)(load)
        asks: list[Callable[[], object]] = [
            lambda: cached(object(), 7),
            lambda: cached.lookup(object(), item=8).value,
            lambda: cache.get_or_set("q", lambda: "old", refresh_factory=lambda: reload(7)),
            lambda: cache.lookup("r", lambda: "old", refresh_factory=lambda: reload(7)).value,
        ]
        for ask in asks:
            assert ask() == "old"
            clock.advance(61)
            ran.clear()
            assert ask() == "old"
            assert ran.wait(5)
        assert len(threads) == 4
        assert threading.get_ident() not in threads


def test_threads_take_no_async_one() -> None:
    async def reload() -> int:
        return 1

    with SyncCache("memory://", ttl=60) as cache:
        with pytest.raises(OptionsError, match=r"refresh_factory .*reload is async"):
            cache.cached(refresh_factory=reload)(lambda: 1)
        with pytest.raises(OptionsError, match=r"refresh_factory .*reload is async"):
            cache.get_or_set("q", lambda: 1, refresh_factory=reload)
        with pytest.raises(OptionsError, match="refresh_factory must be a function, not a str"):
            cache.lookup("q", lambda: 2, refresh_factory="reload")  # type: ignore[arg-type]  # as above
