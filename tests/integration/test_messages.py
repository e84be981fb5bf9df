"""Mistakes that new users make: each message names the value, the reason and the way out."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import pytest

from cachecore import Cache, Computed, SyncCache
from cachecore.testing import FakeClock
from cachecore_llm import CacheConfig, FallbackOrchestrator, LLMResponse, LLMService, ResponseCache, SimulatedProvider
from cachecore_redis import RedisBackend


def cache() -> Cache[Any]:
    return Cache("memory://", ttl=60)


async def answer() -> int:
    return 42


def not_async() -> list[int]:
    return [1]


class Nameless:
    async def generate(self, *_: object, **__: object) -> LLMResponse:
        return LLMResponse(content="hello")


class Speechless(Nameless):
    name = "plain"

    async def generate(self, *_: object, **__: object) -> Any:
        return "only text"


async def generated(provider: Any, **options: Any) -> object:
    async with ResponseCache("memory://") as answers:
        return await LLMService(FallbackOrchestrator([provider]), answers).generate("Be brief.", "Hi", **options)


MISTAKES: list[tuple[Callable[[], Any], list[str]]] = [
    (lambda: Cache("localhost:6379", ttl=60), ["'localhost:6379'", "URL", "redis://localhost:6379"]),
    (lambda: Cache("answers.db", ttl=60), ["'answers.db'", "URL", "sqlite:///answers.db"]),
    (lambda: Cache("", ttl=60), ["empty", "memory://", "redis://host"]),
    (lambda: Cache("redis://h:notaport", ttl=60), ["port a number", "redis://user:password@host:6379/0"]),
    (lambda: Cache("redis://h?timeut=3", ttl=60), ["'timeut'", "unknown", "'timeout'"]),
    (lambda: Cache("redis://h?timeout=x", ttl=60), ["timeout", "'250ms'"]),
    (lambda: Cache("sqlite:///a.db?max_bytes=1kb", ttl=60), ["max_bytes", "'1kb'", "MiB"]),
    (lambda: Cache("memory://?max_bytes=1kb", ttl=60), ["max_bytes=1kb", "no host, path or options", "MemoryBackend("]),
    (lambda: cache().get_or_set("q", not_async), ["list", "cannot be awaited", "async def"]),  # type: ignore[arg-type]  # as below: the mistake itself
    (lambda: cache().get_or_set("q", answer()), ["coroutine", "the function itself"]),  # type: ignore[call-overload]
    (lambda: cache().cached(60), ["60", "async function", "cached(ttl=60)"]),  # type: ignore[call-overload]
    (lambda: SyncCache(cache()).cached(60), ["60", "function", "cached(ttl=60)"]),  # type: ignore[call-overload]
    (lambda: cache().invalidate_tags(["a", "b"]), ["['a', 'b']", "by itself", "invalidate_tags(*tags)"]),  # type: ignore[arg-type]
    (lambda: cache().set("q", (1, 2)), ["tuple", "msgpack", "value_type"]),
    (lambda: cache().set("q", {"a": [{1}]}), ["value.a[0] is a set", "value_type"]),
    (lambda: cache().set_many({"q": (1, 2)}), ["tuple", "msgpack", "value_type"]),
    (lambda: CacheConfig(ttl=5), ["'ttl'", "no setting", "ttl_seconds=5"]),  # type: ignore[call-arg]
    (lambda: CacheConfig(lable="faq"), ["'lable'", "no setting", "label='faq'"]),  # type: ignore[call-arg]
    (lambda: ResponseCache(ttl=5), ["ttl", "CacheConfig(ttl_seconds=5)"]),
    (lambda: ResponseCache("memory://", ttl=5), ["ttl", "CacheConfig(ttl_seconds=5)"]),
    (lambda: ResponseCache("memory://", {"ttl": 5}), ["{'ttl': 5}", "CacheConfig"]),  # type: ignore[arg-type]
    (lambda: FallbackOrchestrator([Nameless()]), ["Nameless", "no name", "'openai'"]),  # type: ignore[list-item]
    (lambda: generated(SimulatedProvider(), tenant=5), ["5", "must be text", "str(5)"]),
    (lambda: generated(SimulatedProvider(), label=5), ["5", "must be text", "'faq/v3'"]),
    (lambda: generated(Speechless()), ["plain", "a str", "LLMResponse(content="]),
    (lambda: ResponseCache("memory://").set("Be brief.", "Hi", None, "text"), ["a str", "LLMResponse(content="]),  # type: ignore[arg-type]
    (lambda: cache().set("q", 1, tags="doc"), ["'doc'", "sequence", "['doc']"]),
    (lambda: cache().set_many({"q": 1}, tags="doc"), ["'doc'", "sequence", "['doc']"]),
    (lambda: Computed(1, tags="doc"), ["'doc'", "sequence", "['doc']"]),
    (lambda: Cache("memory://", ttl=60, clock=5), ["5", "clock", "monotonic", "time"]),  # type: ignore[call-overload]
    (lambda: RedisBackend("redis+cluster://h"), ["redis+cluster", "one server", "ClusterBackend"]),
    (lambda: RedisBackend("redis+sentinel://h/name"), ["redis+sentinel", "one server", "SentinelBackend"]),
    (lambda: Cache("redis://h", ttl=60, clock=FakeClock()), ["redis://h", "a clock of its own", "memory://"]),
]


@pytest.mark.parametrize(("mistake", "words"), MISTAKES, ids=range(len(MISTAKES)))
def test_a_mistake_is_named_with_its_value_and_the_way_out(mistake: Callable[[], Any], words: list[str]) -> None:
    with pytest.raises(Exception) as raised:
        made = mistake()
        if inspect.isawaitable(made):
            asyncio.run(_waited(made))
    text = str(raised.value)
    assert [word for word in words if word not in text] == [], text
    assert not isinstance(raised.value, AttributeError)


async def _waited(made: Any) -> None:
    await made


@pytest.mark.parametrize("url", ["memory://", "sqlite:///{}/a.db"])
def test_memory_and_the_store_of_a_url_follow_the_clock_they_are_given(url: str, tmp_path: Any) -> None:
    clock = FakeClock()
    calls = []

    async def factory() -> int:
        calls.append(1)
        return len(calls)

    async def ask() -> list[int]:
        async with Cache(url.format(tmp_path), ttl=3600, clock=clock, jitter=0) as answers:
            got = [await answers.get_or_set("q", factory), await answers.get_or_set("q", factory)]
            clock.advance(7200)
            return [*got, await answers.get_or_set("q", factory), await answers.get_or_set("q", factory)]

    assert asyncio.run(ask()) == [1, 1, 2, 2]
