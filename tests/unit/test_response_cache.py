"""`ResponseCache` on a real server: what is found again, what is not, what is forgotten and what is counted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from cachecore import Cache, InvalidationPending, OptionsError, UnkeyableError
from cachecore.store.memory_backend import MemoryBackend
from cachecore.testing.clocks import FakeClock
from cachecore_llm import CacheConfig, CacheMetrics, LLMResponse, ResponseCache, ToolCall, Usage
from tests.llm.timeless import TimelessBackend

SYSTEM = "You are a helpful assistant."
USER = "What is the capital of France?"
PATIENT: dict[str, Any] = {"backend_timeout": 10}  # a loaded machine is not what is tested here
ANSWER = LLMResponse(
    content="Paris.",
    model="m-1",
    provider="p-1",
    usage=Usage(prompt_tokens=12, completion_tokens=2),
    finish_reason="stop",
    latency=0.8,
)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[TimelessBackend]:
    made = TimelessBackend(redis_url)
    yield made
    await made.aclose()


@pytest.fixture
async def cache(store: TimelessBackend, clock: FakeClock) -> AsyncIterator[ResponseCache]:
    async with ResponseCache(store, CacheConfig(ttl_seconds=10), clock=clock, jitter=0, **PATIENT) as made:
        yield made


def test_usage_may_be_given_as_providers_give_it() -> None:
    """A dict, or an SDK's own object; what cannot be read so stays for the serializer to refuse."""

    class Counted:
        prompt_tokens, completion_tokens, total_tokens = 12, 2, 14

    given: list[Any] = [{"prompt_tokens": 12, "completion_tokens": 2, "total_tokens": 14}, Counted()]
    assert [LLMResponse("Paris.", usage=usage).usage for usage in given] == [ANSWER.usage] * 2
    odd: Any = {"prompt_tokens": "many"}
    assert LLMResponse("Paris.", usage=odd).usage == odd


class TestGetAndSet:
    async def test_cache_miss_returns_none(self, cache: ResponseCache) -> None:
        """What was never stored is None."""
        assert await cache.get(SYSTEM, USER) is None

    async def test_cache_hit_returns_response(self, cache: ResponseCache) -> None:
        """A hit is the whole answer, marked as cached and with its age."""
        await cache.set(SYSTEM, USER, None, ANSWER)
        found = await cache.get(SYSTEM, USER)
        assert found is not None
        assert (found.content, found.model, found.provider, found.usage) == ("Paris.", "m-1", "p-1", ANSWER.usage)
        assert (found.finish_reason, found.latency) == ("stop", 0.8)
        assert found.cached
        assert found.cache_status == "hit"
        assert found.age is not None
        assert 0 <= found.age < 5

    async def test_cache_stores_response(self, redis_url: str) -> None:
        """What one cache stored, another one finds."""
        async with ResponseCache(redis_url, **PATIENT) as writer:
            assert await writer.set(SYSTEM, USER, {"lang": "en"}, ANSWER, model="m-1")
        async with ResponseCache(redis_url, **PATIENT) as reader:
            found = await reader.get(SYSTEM, USER, {"lang": "en"}, model="m-1")
        assert found is not None
        assert found.content == "Paris."

    async def test_cache_respects_ttl(self, cache: ResponseCache, clock: FakeClock) -> None:
        """An answer is found until its ttl is over, not after."""
        await cache.set(SYSTEM, USER, None, ANSWER)
        clock.advance(9)
        assert await cache.get(SYSTEM, USER) is not None
        clock.advance(2)
        assert await cache.get(SYSTEM, USER) is None

    async def test_reading_does_not_prolong(self, cache: ResponseCache, clock: FakeClock) -> None:
        """A popular answer dies when it should: its ttl does not slide."""
        await cache.set(SYSTEM, USER, None, ANSWER)
        for _ in range(6):
            assert await cache.get(SYSTEM, USER) is not None
            clock.advance(1.9)
        assert await cache.get(SYSTEM, USER) is None

    async def test_fallback_answer_lives_shorter(self, store: TimelessBackend, clock: FakeClock) -> None:
        """An answer of a fallback provider does not outlive the outage by a day."""
        config = CacheConfig(ttl_seconds=30, fallback_ttl=5)
        async with ResponseCache(store, config, clock=clock, jitter=0, **PATIENT) as cache:
            await cache.set(SYSTEM, USER, None, LLMResponse("Paris, I think.", provider="backup", fallback=True))
            found = await cache.get(SYSTEM, USER)
            assert found is not None
            assert found.fallback
            assert found.provider == "backup"
            clock.advance(6)
            assert await cache.get(SYSTEM, USER) is None

    async def test_answer_comes_back_whole(self, cache: ResponseCache) -> None:
        """Tool calls and text in any script survive the store."""
        call = ToolCall(id="call_1", name="weather", arguments='{"city": "Zürich", "n": 1e400}')
        answer = LLMResponse(content="", finish_reason="tool_calls", tool_calls=(call,))
        assert await cache.set(SYSTEM, "天気は？ 🌧", None, answer)
        found = await cache.get(SYSTEM, "天気は？ 🌧")
        assert found is not None
        assert found.tool_calls == (call,)

    async def test_set_needs_a_response(self, cache: ResponseCache) -> None:
        with pytest.raises(TypeError, match="response"):
            await cache.set(SYSTEM, USER)


class TestKey:
    async def _differ(self, cache: ResponseCache, first: dict[str, Any], second: dict[str, Any]) -> bool:
        await cache.set(response=ANSWER, **{"system_prompt": SYSTEM, "user_message": USER, **first})
        assert await cache.get(**{"system_prompt": SYSTEM, "user_message": USER, **first}) is not None
        return await cache.get(**{"system_prompt": SYSTEM, "user_message": USER, **second}) is None

    async def test_cache_key_includes_system_prompt(self, cache: ResponseCache) -> None:
        assert await self._differ(cache, {"system_prompt": "You are a pirate."}, {"system_prompt": "You are a monk."})

    async def test_cache_key_includes_context(self, cache: ResponseCache) -> None:
        assert await self._differ(cache, {"context": {"user": 1}}, {"context": {"user": 2}})
        assert await self._differ(cache, {"context": "a document"}, {})

    async def test_cache_key_includes_user_message(self, cache: ResponseCache) -> None:
        assert await self._differ(cache, {"user_message": "What is 2 + 2?"}, {"user_message": "What is 2 + 3?"})

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ({"model": "m-a"}, {"model": "m-b"}),
            ({"temperature": 0.0}, {"temperature": 0.7}),
            ({"seed": 1}, {"seed": True}),
            ({"a_parameter_of_next_year": "x"}, {}),
            ({"extra_body": {"safety_settings": "off"}}, {"extra_body": {"safety_settings": "on"}}),
            ({"min_p": 0.1}, {"top_a": 0.1}),
            ({"n": 1}, {"n": 2}),
            ({"tools": [{"name": "search"}]}, {"tools": []}),
            ({"context": [{"role": "user", "content": [{"image": b"\x89PNG1"}]}]},
             {"context": [{"role": "user", "content": [{"image": b"\x89PNG2"}]}]}),
            ({"stop": ["a b", "c"]}, {"stop": ["a", "b c"]}),
            ({"user": "None"}, {"user": None}),
            ({"tenant": "a"}, {"tenant": "b"}),
            ({"tenant": "a"}, {}),
            ({"label": "faq"}, {"label": "help"}),
            ({"user_message": "Straße"}, {"user_message": "straße"}),
            ({"user_message": "e\u0301"}, {"user_message": "\u00e9"}),
            ({"system_prompt": "ab", "user_message": "c"}, {"system_prompt": "a", "user_message": "bc"}),
        ],
    )  # fmt: skip
    async def test_whatever_may_shape_the_answer_is_in_the_key(
        self, cache: ResponseCache, first: dict[str, Any], second: dict[str, Any]
    ) -> None:
        """Named after what others forgot: the model, new parameters, tools, images, histories, tenants, letter case."""
        assert await self._differ(cache, first, second)

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ({"temperature": 0}, {"temperature": 0.0}),
            ({"top_p": 1}, {"top_p": 1.0}),
            ({"timeout": 5}, {"timeout": 50}),
            ({"stream": False}, {}),
            ({"extra_headers": {"x-request-id": "1"}}, {"request_id": "2", "max_retries": 3}),
        ],
    )
    async def test_what_only_travels_is_not_in_the_key(
        self, cache: ResponseCache, first: dict[str, Any], second: dict[str, Any]
    ) -> None:
        assert not await self._differ(cache, first, second)

    async def test_order_of_parameters_does_not_count(self, cache: ResponseCache) -> None:
        await cache.set(SYSTEM, USER, {"a": 1, "b": 2}, ANSWER, model="m", temperature=0.5, tools=[{"x": 1, "y": 2}])
        found = await cache.get(SYSTEM, USER, {"b": 2, "a": 1}, tools=[{"y": 2, "x": 1}], temperature=0.5, model="m")
        assert found is not None

    async def test_other_histories_of_one_last_turn_differ(self, cache: ResponseCache) -> None:
        """The last message alone is not the request."""
        cats = [{"role": "user", "content": "Tell me about cats."}, {"role": "assistant", "content": "They purr."}]
        dogs = [{"role": "user", "content": "Tell me about dogs."}, {"role": "assistant", "content": "They bark."}]
        await cache.set(SYSTEM, "How long do they live?", cats, ANSWER)
        assert await cache.get(SYSTEM, "How long do they live?", dogs) is None

    async def test_model_b_does_not_overwrite_model_a(self, cache: ResponseCache) -> None:
        await cache.set(SYSTEM, USER, None, LLMResponse("from a", model="a"), model="a")
        await cache.set(SYSTEM, USER, None, LLMResponse("from b", model="b"), model="b")
        a, b = await cache.get(SYSTEM, USER, model="a"), await cache.get(SYSTEM, USER, model="b")
        assert a is not None
        assert b is not None
        assert (a.content, b.content) == ("from a", "from b")

    async def test_what_has_no_canonical_form_is_refused(self, cache: ResponseCache) -> None:
        """A request is never keyed by the address of an object; the error says where it is, not what."""
        with pytest.raises(UnkeyableError, match=r"params\.tools\[0\]"):
            await cache.get(SYSTEM, USER, tools=[object()])

    async def test_arguments_cannot_be_passed_twice(self, cache: ResponseCache) -> None:
        with pytest.raises(OptionsError, match="system_prompt must be text"):
            await cache.get(None, USER)  # type: ignore[arg-type]  # what a caller without types may do


class TestInvalidation:
    async def test_invalidate_by_prefix(self, cache: ResponseCache) -> None:
        """A label covers the labels below it, whole segments only, for every tenant."""
        for label, tenant in [("faq", None), ("faq/v3", None), ("faq", "acme"), ("faqs", None), ("help", None)]:
            await cache.set(SYSTEM, USER, None, ANSWER, label=label, tenant=tenant)
        assert await cache.invalidate_prefix("faq") == 3
        assert await cache.get(SYSTEM, USER, label="faq") is None
        assert await cache.get(SYSTEM, USER, label="faq/v3") is None
        assert await cache.get(SYSTEM, USER, label="faq", tenant="acme") is None
        assert await cache.get(SYSTEM, USER, label="faqs") is not None
        assert await cache.get(SYSTEM, USER, label="help") is not None

    async def test_invalidate_all(self, cache: ResponseCache) -> None:
        for number in range(5):
            await cache.set(SYSTEM, f"{USER} {number}", None, ANSWER)
        assert await cache.invalidate_all() == 5
        assert await cache.get(SYSTEM, f"{USER} 0") is None

    async def test_invalidate_all_stays_within_its_prefix(self, redis_url: str) -> None:
        async with (
            ResponseCache(redis_url, CacheConfig(prefix="llm:response"), **PATIENT) as one,
            ResponseCache(redis_url, CacheConfig(prefix="llm:response2"), **PATIENT) as other,
        ):
            await one.set(SYSTEM, USER, None, ANSWER)
            await other.set(SYSTEM, USER, None, ANSWER)
            assert await one.invalidate_all() == 1
            assert await other.get(SYSTEM, USER) is not None

    async def test_invalidation_returns_count(self, cache: ResponseCache) -> None:
        """Each invalidation says how many entries it deleted; a second one finds none."""
        for number in range(4):
            await cache.set("You are A.", f"{number}?", None, ANSWER, label="a")
        for number in range(3):
            await cache.set("You are B.", f"{number}?", None, ANSWER, tenant="t")
        assert await cache.invalidate_prompt("You are A.") == 4
        assert await cache.invalidate_prompt("You are A.") == 0
        assert await cache.invalidate_prefix("a") == 0
        assert await cache.invalidate_tenant("t") == 3
        assert await cache.invalidate_all() == 0

    async def test_invalidate_prompt(self, cache: ResponseCache) -> None:
        """A withdrawn prompt is withdrawn for every tenant, label and parameter, and no other prompt is."""
        await cache.set(SYSTEM, USER, None, ANSWER)
        await cache.set(SYSTEM, USER, None, ANSWER, tenant="acme", label="faq/v3", temperature=1)
        await cache.set(SYSTEM + " ", USER, None, ANSWER)
        assert await cache.invalidate_prompt(SYSTEM) == 2
        assert await cache.get(SYSTEM, USER) is None
        assert await cache.get(SYSTEM, USER, tenant="acme", label="faq/v3", temperature=1) is None
        assert await cache.get(SYSTEM + " ", USER) is not None

    async def test_other_process_sees_the_invalidation(self, store: TimelessBackend, clock: FakeClock) -> None:
        """What one cache invalidates, another one no longer serves, though it has a copy in memory."""
        async with (
            ResponseCache(store, clock=clock, **PATIENT) as mine,
            ResponseCache(store, clock=clock, **PATIENT) as theirs,
        ):
            await mine.set(SYSTEM, USER, None, ANSWER)
            assert await theirs.get(SYSTEM, USER) is not None
            await mine.invalidate_prompt(SYSTEM)
            clock.advance(1.1)  # the bound on staleness where nobody brings the news
            assert await theirs.get(SYSTEM, USER) is None

    async def test_tenant_cannot_pass_for_a_label(self, cache: ResponseCache) -> None:
        await cache.set(SYSTEM, USER, None, ANSWER, tenant="l-faq")
        await cache.set(SYSTEM, USER, None, ANSWER, tenant="faq")
        assert await cache.invalidate_prefix("faq") == 0
        assert await cache.invalidate_prefix("l-faq") == 0
        await cache.set(SYSTEM, USER, None, ANSWER, label="t-acme")
        assert await cache.invalidate_tenant("acme") == 0
        assert await cache.invalidate_tenant("l-faq") == 1

    async def test_store_that_is_away_leaves_the_invalidation_pending(self) -> None:
        """The caller learns that other processes may still serve what it withdrew."""
        backend = MemoryBackend()
        cache = ResponseCache(backend)
        await cache.set(SYSTEM, USER, None, ANSWER)
        await backend.aclose()
        with pytest.raises(InvalidationPending):
            await cache.invalidate_prompt(SYSTEM)
        assert await cache.get(SYSTEM, USER) is None
        await cache.aclose()


class TestMetrics:
    async def test_tracks_hit_count(self, cache: ResponseCache) -> None:
        await cache.set(SYSTEM, USER, None, ANSWER)
        for _ in range(3):
            await cache.get(SYSTEM, USER)
        assert cache.metrics.hits == 3
        assert cache.metrics.misses == 0

    async def test_tracks_miss_count(self, cache: ResponseCache) -> None:
        for number in range(4):
            await cache.get(SYSTEM, f"{number}?")
        assert cache.metrics.misses == 4
        assert cache.metrics.hits == 0

    async def test_calculates_hit_rate(self, cache: ResponseCache) -> None:
        assert cache.metrics.hit_rate == 0.0
        await cache.set(SYSTEM, USER, None, ANSWER)
        for message in (USER, USER, USER, "another?"):
            await cache.get(SYSTEM, message)
        assert cache.metrics.hit_rate == 0.75
        assert CacheMetrics(hits=1, misses=3).hit_rate == 0.25

    async def test_caches_in_one_cache_count_for_themselves(self) -> None:
        shared: Cache[Any] = Cache("memory://", ttl=60)
        async with shared:
            one, other = (ResponseCache(shared, CacheConfig(prefix=prefix)) for prefix in ("one", "other"))
            await one.get(SYSTEM, USER)
            await shared.get("something else")
            assert (one.metrics.misses, other.metrics.misses) == (1, 0)


class TestAdmissionOnSet:
    @pytest.mark.parametrize(
        ("answer", "params", "why"),
        [
            (LLMResponse(" \n"), {}, "empty"),
            (LLMResponse("Once upon a", finish_reason="length"), {}, "truncated"),
            (LLMResponse("...", finish_reason="content_filter"), {}, "filtered"),
            (LLMResponse("I'm sorry, but I can't assist with that."), {}, "refused"),
            (LLMResponse('{"a": 1'), {"response_format": {"type": "json_object"}}, "invalid_json"),
            (LLMResponse("502 Bad Gateway"), {}, "error_text"),
            (LLMResponse("fine", cached=True, cache_status="similar"), {}, "cached"),
        ],
    )
    async def test_unfit_answers_are_not_stored(
        self, cache: ResponseCache, answer: LLMResponse, params: dict[str, Any], why: str
    ) -> None:
        """They are told apart and counted, and asking again asks again."""
        assert not await cache.set(SYSTEM, USER, None, answer, **params)
        assert await cache.get(SYSTEM, USER, **params) is None
        assert cache.metrics.rejected == {why: 1}

    async def test_own_rule(self) -> None:
        async with ResponseCache("memory://", CacheConfig(admit=lambda answer: "Paris" in answer.content)) as cache:
            assert await cache.set(SYSTEM, USER, None, ANSWER)
            assert not await cache.set(SYSTEM, "Rome?", None, LLMResponse("Rome."))
            assert cache.metrics.rejected == {"custom": 1}


class TestAnswersHandedOut:
    async def test_returned_answers_are_not_shared_by_reference(self, cache: ResponseCache) -> None:
        """No caller can change what another one gets."""
        await cache.set(SYSTEM, USER, None, ANSWER)
        found = await cache.get(SYSTEM, USER)
        assert found is not None
        with pytest.raises(AttributeError):
            found.content = "Lyon."  # type: ignore[misc]  # the point of the test
        again = await cache.get(SYSTEM, USER)
        assert again is not None
        assert again.content == "Paris."
