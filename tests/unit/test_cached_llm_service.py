"""`LLMService`: the cache first, then the providers, then the cache as last resort, on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from cachecore import OptionsError, bypass
from cachecore.testing.clocks import FakeClock
from cachecore_llm import (
    AllProvidersFailedError,
    CacheConfig,
    FallbackOrchestrator,
    LLMResponse,
    LLMService,
    Provider,
    ResponseCache,
    ToolCall,
)
from tests.llm.timeless import TimelessBackend

SYSTEM = "You are a helpful assistant."
USER = "How do I reset my password?"
PATIENT: dict[str, Any] = {"backend_timeout": 10}  # a loaded machine is not what is tested here


class ScriptedProvider:
    """A provider that answers what it is told to, and remembers what it was asked."""

    def __init__(self, name: str = "primary", **answer: Any) -> None:
        self.name = name
        self.answer = answer
        self.error: Exception | None = None
        self.asked: list[tuple[str, str, Any, Mapping[str, Any]]] = []
        self.gate: asyncio.Event | None = None
        self.reached = asyncio.Event()

    async def generate(self, system_prompt: str, user_message: str, context: Any = None, **params: Any) -> LLMResponse:
        self.asked.append((system_prompt, user_message, context, params))
        self.reached.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        told = {"content": f"answer {len(self.asked)} to {user_message}", "model": "m", "finish_reason": "stop"}
        return LLMResponse(**{**told, **self.answer})


class ProviderWithModel(ScriptedProvider):
    """A provider whose default model shapes its answers."""

    def __init__(self, model: str) -> None:
        super().__init__()
        self.identity = {"model": model}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def provider() -> ScriptedProvider:
    return ScriptedProvider()


@pytest.fixture
async def cache(redis_url: str, clock: FakeClock) -> AsyncIterator[ResponseCache]:
    store = TimelessBackend(redis_url)
    config = CacheConfig(ttl_seconds=10, stale_if_error=20, fallback_ttl=5)
    async with ResponseCache(store, config, clock=clock, jitter=0, **PATIENT) as made:
        yield made
    await store.aclose()


@pytest.fixture
def service(provider: ScriptedProvider, cache: ResponseCache) -> LLMService:
    return LLMService(FallbackOrchestrator([provider]), cache)


class TestCacheFirst:
    async def test_returns_cached_response_on_hit(
        self, service: LLMService, cache: ResponseCache, provider: ScriptedProvider
    ) -> None:
        """What is in the cache is answered without asking a provider."""
        await cache.set(SYSTEM, USER, None, LLMResponse("from the cache", finish_reason="stop"), temperature=0.2)
        answer = await service.generate(SYSTEM, USER, temperature=0.2)
        assert answer.content == "from the cache"
        assert provider.asked == []

    async def test_calls_provider_on_cache_miss(self, service: LLMService, provider: ScriptedProvider) -> None:
        """A miss asks the provider, with everything the caller gave."""
        answer = await service.generate(SYSTEM, USER, {"doc": 1}, temperature=0.2, timeout=5)
        assert answer.content == f"answer 1 to {USER}"
        assert not answer.cached
        assert answer.cache_status == "miss"
        assert provider.asked == [(SYSTEM, USER, {"doc": 1}, {"temperature": 0.2, "timeout": 5})]

    async def test_stores_response_after_generation(
        self, service: LLMService, cache: ResponseCache, provider: ScriptedProvider
    ) -> None:
        """What a provider answered is in the cache, under the request as it was asked."""
        answer = await service.generate(SYSTEM, USER, [{"role": "user", "content": "Hi"}], model="m")
        found = await cache.get(SYSTEM, USER, [{"role": "user", "content": "Hi"}], model="m")
        assert found is not None
        assert found.content == answer.content
        await service.generate(SYSTEM, USER, [{"role": "user", "content": "Hi"}], model="m")
        assert len(provider.asked) == 1

    async def test_marks_cached_response(self, service: LLMService, clock: FakeClock) -> None:
        """Only what comes from the cache says so, with its age; latency stays that of the computation."""
        first = await service.generate(SYSTEM, USER)
        assert (first.cached, first.cache_status, first.age) == (False, "miss", None)
        clock.advance(4)
        second = await service.generate(SYSTEM, USER)
        assert (second.cached, second.cache_status) == (True, "hit")
        assert second.age == pytest.approx(4)
        assert (second.provider, second.latency) == (first.provider, first.latency)

    async def test_callers_at_the_same_time_share_one_call(
        self, service: LLMService, provider: ScriptedProvider
    ) -> None:
        provider.gate = asyncio.Event()
        callers = [asyncio.create_task(service.generate(SYSTEM, USER)) for _ in range(50)]
        await provider.reached.wait()
        provider.gate.set()
        assert {answer.content for answer in await asyncio.gather(*callers)} == {f"answer 1 to {USER}"}
        assert len(provider.asked) == 1

    async def test_unfit_answer_reaches_its_caller_and_is_not_stored(
        self, service: LLMService, cache: ResponseCache, provider: ScriptedProvider
    ) -> None:
        """A truncated answer is not served again: asking again asks again."""
        provider.answer = {"content": "Click on", "finish_reason": "length"}
        assert (await service.generate(SYSTEM, USER)).content == "Click on"
        provider.answer = {}
        assert (await service.generate(SYSTEM, USER)).content == f"answer 2 to {USER}"
        assert cache.metrics.rejected == {"truncated": 1}

    async def test_disabled_cache_asks_every_time(self, redis_url: str, provider: ScriptedProvider) -> None:
        async with ResponseCache(redis_url, CacheConfig(enabled=False), **PATIENT) as cache:
            service = LLMService(provider, cache)
            answers = [await service.generate(SYSTEM, USER) for _ in range(2)]
        assert [answer.cache_status for answer in answers] == ["bypass", "bypass"]
        assert len(provider.asked) == 2

    async def test_bypass_block_asks_every_time(self, service: LLMService, provider: ScriptedProvider) -> None:
        await service.generate(SYSTEM, USER)
        with bypass():
            answer = await service.generate(SYSTEM, USER)
        assert (answer.cache_status, answer.cached) == ("bypass", False)
        assert len(provider.asked) == 2

    async def test_default_model_of_the_provider_is_in_the_key(self, cache: ResponseCache) -> None:
        """An application that changes its default model does not get the old model's answers."""
        old, new = ProviderWithModel("m-1"), ProviderWithModel("m-2")
        await LLMService(old, cache).generate(SYSTEM, USER)
        await LLMService(new, cache).generate(SYSTEM, USER)
        assert len(new.asked) == 1
        assert new.asked[0][3] == {}  # the provider is asked as the caller asked
        assert await cache.get(SYSTEM, USER, model="m-2") is not None
        await LLMService(new, cache).generate(SYSTEM, USER, model="m-1")
        assert len(new.asked) == 1

    async def test_dead_store_costs_a_computation(self, provider: ScriptedProvider) -> None:
        """With a store that cannot be reached every request is answered by the provider."""
        async with ResponseCache("redis://127.0.0.1:1/0") as cache:
            answer = await LLMService(provider, cache).generate(SYSTEM, USER)
            assert answer.content == f"answer 1 to {USER}"

    async def test_stream_true_gives_the_answer_in_pieces(
        self, service: LLMService, provider: ScriptedProvider
    ) -> None:
        """The first stream asks the provider; the second comes from the cache, as does a whole answer."""
        for status in ("miss", "hit"):
            stream = await service.generate(SYSTEM, USER, stream=True)
            assert "".join([piece async for piece in stream]) == f"answer 1 to {USER}"
            assert stream.cache_status == status
            answer = await stream.response()
            assert (answer.content, answer.cached, answer.model) == (f"answer 1 to {USER}", status == "hit", "m")
        assert (await service.generate(SYSTEM, USER)).cache_status == "hit"
        assert len(provider.asked) == 1

    async def test_providers_that_may_outlast_the_cache_are_refused(self, cache: ResponseCache) -> None:
        """Otherwise the computation would end before the second provider had its turn."""
        slow: list[Provider] = [ScriptedProvider("a"), ScriptedProvider("b")]
        with pytest.raises(OptionsError, match="factory_timeout"):
            LLMService(FallbackOrchestrator(slow, timeout=400), cache)


class TestLastResort:
    async def test_cache_used_as_last_fallback(
        self, service: LLMService, provider: ScriptedProvider, clock: FakeClock
    ) -> None:
        """When every provider fails, the same request's old answer is served, marked as stale."""
        first = await service.generate(SYSTEM, USER)
        clock.advance(15)
        provider.error = ConnectionError("down")
        answer = await service.generate(SYSTEM, USER)
        assert answer.content == first.content
        assert (answer.cached, answer.cache_status) == (True, "stale")
        assert answer.age == pytest.approx(15)
        assert len(provider.asked) == 2  # the providers were asked before

    async def test_too_old_an_answer_is_not_served(
        self, service: LLMService, provider: ScriptedProvider, clock: FakeClock
    ) -> None:
        await service.generate(SYSTEM, USER)
        clock.advance(31)
        provider.error = ConnectionError("down")
        with pytest.raises(AllProvidersFailedError):
            await service.generate(SYSTEM, USER)

    async def test_nothing_to_serve_raises_every_cause(self, cache: ResponseCache) -> None:
        primary, backup = ScriptedProvider("primary"), ScriptedProvider("backup")
        primary.error, backup.error = ConnectionError("refused"), ValueError("no key")
        service = LLMService(FallbackOrchestrator([primary, backup]), cache)
        with pytest.raises(AllProvidersFailedError) as raised:
            await service.generate(SYSTEM, USER)
        assert raised.value.causes == (primary.error, backup.error)
        assert cache.metrics.misses == 1

    async def test_fallback_answer_is_marked_and_short_lived(self, cache: ResponseCache, clock: FakeClock) -> None:
        """An answer of the backup says so, and the first provider is asked again soon."""
        primary, backup = ScriptedProvider("primary"), ScriptedProvider("backup")
        primary.error = ConnectionError("down")
        service = LLMService(FallbackOrchestrator([primary, backup]), cache)
        assert (await service.generate(SYSTEM, USER)).fallback
        hit = await service.generate(SYSTEM, USER)
        assert (hit.cache_status, hit.fallback, hit.provider) == ("hit", True, "backup")
        clock.advance(6)
        primary.error = None
        answer = await service.generate(SYSTEM, USER)
        assert (answer.cache_status, answer.fallback, answer.provider) == ("miss", False, "primary")

    async def test_similar_question_is_answered_at_the_very_end(
        self, service: LLMService, provider: ScriptedProvider, cache: ResponseCache
    ) -> None:
        first = await service.generate(SYSTEM, USER, model="m")
        provider.error = ConnectionError("down")
        answer = await service.generate(SYSTEM, "how can I reset my password", model="m")
        assert answer.content == first.content
        assert (answer.cached, answer.cache_status, answer.matched_message) == (True, "similar", USER)
        assert answer.similarity is not None
        assert 0.8 <= answer.similarity < 1
        assert answer.age is not None
        assert cache.metrics.similar == 1

    async def test_similar_answer_is_never_stored(
        self, service: LLMService, provider: ScriptedProvider, cache: ResponseCache
    ) -> None:
        """Once a provider is back, the question gets an answer of its own."""
        await service.generate(SYSTEM, USER)
        provider.error = ConnectionError("down")
        similar = await service.generate(SYSTEM, "how can I reset my password")
        assert await cache.get(SYSTEM, "how can I reset my password") is None
        assert not await cache.set(SYSTEM, "how can I reset my password", None, similar)
        provider.error = None
        answer = await service.generate(SYSTEM, "how can I reset my password")
        assert answer.cache_status == "miss"
        assert answer.content.endswith("how can I reset my password")

    @pytest.mark.parametrize(
        "other",
        [
            {"system_prompt": "You are a bank."},
            {"context": {"user": 2}},
            {"model": "m-2"},
            {"temperature": 0.9},
            {"tenant": "other"},
            {"label": "other"},
            {"user_message": "How do I reset my PIN?"},
            {"user_message": "How do I not reset my password?"},
            {"user_message": "How do I reset my password 2?"},
        ],
    )
    async def test_similar_stays_within_everything_else(
        self, service: LLMService, provider: ScriptedProvider, other: dict[str, Any]
    ) -> None:
        """No similar answer crosses a prompt, a context, a parameter, a tenant; nor numbers, negation, other words."""
        request: dict[str, Any] = {
            "system_prompt": SYSTEM,
            "user_message": "How do I reset my password?",
            "context": {"user": 1},
            "model": "m-1",
            "tenant": "acme",
        }
        await service.generate(**request)
        provider.error = ConnectionError("down")
        alike = {**request, "user_message": "How can I reset my password?"}
        assert (await service.generate(**alike)).cache_status == "similar"
        with pytest.raises(AllProvidersFailedError):
            await service.generate(**{**alike, **other})

    async def test_invalidated_answer_is_no_last_resort(
        self, service: LLMService, provider: ScriptedProvider, cache: ResponseCache
    ) -> None:
        """An answer that was withdrawn is served neither as stale nor as similar."""
        await service.generate(SYSTEM, USER)
        await cache.invalidate_prompt(SYSTEM)
        provider.error = ConnectionError("down")
        for message in (USER, "how can I reset my password"):
            with pytest.raises(AllProvidersFailedError):
                await service.generate(SYSTEM, message)

    async def test_answer_under_way_when_its_prompt_is_withdrawn_is_not_stored(
        self, service: LLMService, provider: ScriptedProvider, cache: ResponseCache
    ) -> None:
        """Its caller gets it; who asks after the withdrawal neither joins it nor finds it."""
        provider.gate = asyncio.Event()
        before = asyncio.create_task(service.generate(SYSTEM, USER))
        await provider.reached.wait()
        await cache.invalidate_prompt(SYSTEM)
        after = asyncio.create_task(service.generate(SYSTEM, USER))
        await asyncio.sleep(0)  # it has begun before the first one ends
        provider.gate.set()
        answers = [(await task).content for task in (before, after)]
        assert answers[0] != answers[1]
        found = await cache.get(SYSTEM, USER)
        assert found is None or found.content == answers[1]

    async def test_similar_answer_may_be_stale_but_not_dead(
        self, service: LLMService, provider: ScriptedProvider, clock: FakeClock
    ) -> None:
        await service.generate(SYSTEM, USER)
        provider.error = ConnectionError("down")
        clock.advance(25)
        assert (await service.generate(SYSTEM, "how can I reset my password")).cache_status == "similar"
        clock.advance(10)
        with pytest.raises(AllProvidersFailedError):
            await service.generate(SYSTEM, "how can I reset my password")

    async def test_tool_calls_answer_their_own_question_only(
        self, service: LLMService, provider: ScriptedProvider
    ) -> None:
        """The arguments of a tool call were taken from the question."""
        provider.answer = {"content": "", "tool_calls": (ToolCall("1", "reset", '{"user": "ann"}'),)}
        await service.generate(SYSTEM, USER)
        provider.error = ConnectionError("down")
        with pytest.raises(AllProvidersFailedError):
            await service.generate(SYSTEM, "how can I reset my password")

    async def test_question_seen_only_as_a_hit_is_remembered(self, redis_url: str, provider: ScriptedProvider) -> None:
        """A process that started with a full store learns questions as it reads their answers."""
        async with ResponseCache(redis_url, **PATIENT) as before:
            await LLMService(provider, before).generate(SYSTEM, USER)
        async with ResponseCache(redis_url, **PATIENT) as after:
            service = LLMService(provider, after)
            assert (await service.generate(SYSTEM, USER)).cache_status == "hit"
            provider.error = ConnectionError("down")
            assert (await service.generate(SYSTEM, "how can I reset my password")).cache_status == "similar"

    async def test_similar_can_be_switched_off(self, redis_url: str, provider: ScriptedProvider) -> None:
        async with ResponseCache(redis_url, CacheConfig(similar=False), **PATIENT) as cache:
            service = LLMService(provider, cache)
            await service.generate(SYSTEM, USER)
            provider.error = ConnectionError("down")
            with pytest.raises(AllProvidersFailedError):
                await service.generate(SYSTEM, "how can I reset my password")
