"""Cached functions in everyday programs: the right value of each kind of fault that is reported of such decorators."""

from __future__ import annotations

import asyncio
import inspect
import logging
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import pydantic
import pytest

from cachecore import Cache, OptionsError, SyncCache, UnkeyableError

cache = Cache("memory://", ttl=60)
locale: ContextVar[str] = ContextVar("locale")
calls: list[Any] = []
thought = asyncio.Event()


@pytest.fixture(autouse=True)
async def _fresh() -> None:
    await cache.invalidate_all()
    calls.clear()


class Translator:
    def __init__(self, language: str) -> None:
        self.language = language

    @cache.cached
    async def say(self, word: str) -> str:
        return f"{word} in {self.language}"


class Session:
    """A connection: no part of the answer."""


@cache.cached(exclude=["session"], tags=["user:{user_id}"])
async def profile(user_id: int, session: Session) -> dict[str, Any]:
    calls.append(user_id)
    return {"user": user_id}


@cache.cached(vary=locale)
async def greet(name: str) -> str:
    return {"de": "Guten Tag ", "fr": "Bonjour "}[locale.get()] + name


class Summary(pydantic.BaseModel):
    text: str


@dataclass
class Usage:
    tokens: int


@cache.cached
async def summarise(text: str) -> tuple[Summary, dict[int, Usage]]:
    calls.append(text)
    return Summary(text=text[:3]), {1: Usage(len(text))}


@cache.cached
async def unkept(text: str) -> Any:
    calls.append(text)
    return {"summary": Session()}


@cache.cached(finish=True)
async def think(question: str) -> str:
    calls.append(question)
    await thought.wait()
    return "42"


async def test_two_objects_with_other_settings() -> None:
    """cachetools, methodtools: the language of the first object answers for all."""
    assert [await Translator(one).say("good") for one in ("French", "German")] == ["good in French", "good in German"]


async def test_a_session_is_no_part_of_the_request() -> None:
    """fastapi-cache: an injected session makes each request another one."""
    for user in (1, 1, 2, 1):
        assert await profile(user, Session()) == {"user": user}
    assert calls == [1, 2]
    await cache.invalidate_tags("user:1")
    await profile(1, Session())
    await profile(2, Session())
    assert calls == [1, 2, 1]


async def test_visitors_of_two_languages() -> None:
    """Pages and prompts that read the language from the request's context: the first visitor's was everybody's."""

    async def visit(language: str) -> str:
        locale.set(language)
        return await greet("Ann")

    assert [*await asyncio.gather(visit("de"), visit("fr"), visit("de"))] == [
        "Guten Tag Ann",
        "Bonjour Ann",
        "Guten Tag Ann",
    ]


async def test_structured_answers_come_back_as_they_went_in() -> None:
    """A dict instead of model, list instead of tuple, "1" instead of 1 on the second call."""
    first, second = await summarise("abcdef"), await summarise("abcdef")
    assert first == second == (Summary(text="abc"), {1: Usage(6)})
    assert calls == ["abcdef"]


async def test_a_value_that_cannot_be_kept_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """A thousand warnings that name neither the function nor the way out."""
    for _ in range(100):
        await unkept("a")
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(lines) == 1
    for word in ("unkept", "value.summary is a", "Session", "value_type="):
        assert word in lines[0]
    assert unkept.stats().not_stored == {"encoding": 100}


async def test_a_gateway_that_gives_up_before_the_answer() -> None:
    """Each retry pays again, and no try ever gets an answer."""
    thought.clear()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await think("q")
    asked_again = asyncio.create_task(think("q"))
    await asyncio.sleep(0)
    thought.set()
    assert [await asked_again, await think("q"), calls] == ["42", "42", ["q"]]


async def test_a_bad_call_harms_no_good_one() -> None:
    """async-lru: after a call that cannot be keyed the function fails for good."""
    with pytest.raises(UnkeyableError, match=r"arguments\.user_id: cannot key a .*Session.*exclude=\['user_id'\]"):
        await profile(Session(), Session())  # type: ignore[arg-type]  # on purpose
    assert await profile(3, Session()) == {"user": 3}


async def test_frameworks_see_a_coroutine_function() -> None:
    """Streamlit, fastapi-redis-cache: an object that only can be called is run in a thread, or refused."""
    for function in (greet, Translator.say, Translator("French").say, greet.refresh, greet.invalidate_all):
        assert inspect.iscoroutinefunction(function)


def test_the_wrong_kind_of_function_is_refused_with_the_right_decorator() -> None:
    plain = SyncCache("memory://", ttl=60)

    async def chunks() -> Any:
        yield 1

    def function() -> int:
        return 1

    async def coroutine() -> int:
        return 1

    for decorate, wrong, words in (
        (cache.cached, chunks, r"Cache\.cached .*chunks is an async generator: use cache\.stream"),
        (plain.cached, chunks, r"chunks is a generator: use cache\.stream"),
        (cache.cached, function, r"function is not async\. Write `async def`, or use SyncCache\.cached"),
        (plain.cached, coroutine, r"coroutine is async\. Cache\.cached is for async functions"),
    ):
        refused: Any = decorate
        with pytest.raises(OptionsError, match=words):
            refused(wrong)
    plain.close()
