"""Whole answers: what is shared, what stands in for an answer, what never does, and what each control asks."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from cachecore import OptionsError, UnkeyableError, bypass
from cachecore.testing.clocks import FakeClock
from cachecore_llm import (
    AllProvidersFailedError,
    CacheConfig,
    Controls,
    FallbackOrchestrator,
    LLMService,
    NotCachedError,
    ResponseCache,
)
from cachecore_llm.response import as_made
from cachecore_llm.wire import Call
from tests.llm.flow.scripted import WEATHER, Scripted, caching, chat, completion, said, tool_calls


class MisspeltError(Exception):
    """What an SDK raises for a request that is wrong."""

    status_code = 400


async def test_callers_at_the_same_time_share_one_call_and_only_one_pays() -> None:
    provider = Scripted()
    provider.gate = asyncio.Event()
    async with caching() as cache:
        service = LLMService(provider, cache)
        asked = [asyncio.create_task(service.answer(chat())) for _ in range(5)]
        while not provider.calls:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0)
        provider.gate.set()
        statuses = sorted([(await one).status for one in asked])
        assert statuses == ["joined"] * 4 + ["miss"]
        assert (cache.metrics.hits, cache.metrics.misses, cache.metrics.joined) == (0, 5, 4)
        row = cache.ledger.total()
        assert (row.spent.calls, row.saved.calls) == (1, 4)


async def test_what_the_provider_said_comes_back_whole_and_is_no_callers_to_change() -> None:
    body = completion("42", reasoning_content="6 times 7")
    body |= {"system_fingerprint": "fp", "newer": {"field": 1}}
    async with caching() as cache:
        service = LLMService(Scripted(body), cache)
        for _ in range(3):
            answer = await service.ask(chat())
            assert answer.body == body
            answer.body["choices"].clear()
            answer.body["newer"]["field"] = 2
            assert (answer.reasoning, answer.usage and answer.usage.total_tokens) == ("6 times 7", 15)


async def test_an_answer_of_one_protocol_is_kept_under_another_and_an_edited_one_as_it_is() -> None:
    """What is put by hand is the content that a caller sees, whichever provider it came from."""
    async with caching() as chats, caching() as plain:
        answer = await LLMService(Scripted(tool_calls()), chats).ask(chat())
        edited = replace(await LLMService(Scripted(completion("Paris.")), chats).ask(chat("again")), content="Rome.")
        for cache in (plain, chats):
            for number, given in enumerate((answer, edited)):
                assert await cache.set("", str(number), None, as_made(given))
                found = await cache.get("", str(number))
                assert found is not None
                assert (found.content, found.tool_calls, found.usage) == (given.content, given.tool_calls, given.usage)


async def test_labels_of_one_caller_never_reach_another() -> None:
    """`metadata` is echoed in the answer, and no part of the key: it is each caller's own."""

    def echo(call: Call) -> Any:
        return {**completion(), "metadata": call.body.get("metadata")}

    async with caching() as cache:
        service = LLMService(Scripted(echo), cache)
        ann = await service.ask(chat(metadata={"who": "ann"}))
        bob = await service.ask(chat(metadata={"who": "bob"}))
        nobody = await service.ask(chat())
    assert [one.cache_status for one in (ann, bob, nobody)] == ["miss", "hit", "hit"]
    assert [one.body and one.body["metadata"] for one in (ann, bob, nobody)] == [{"who": "ann"}, {"who": "bob"}, None]


async def test_users_do_not_spoil_hits() -> None:
    async with caching() as cache:
        provider = Scripted()
        service = LLMService(provider, cache)
        for number in range(50):
            await service.generate("", "Where?", user=f"user-{number}", metadata={"n": str(number)})
        assert (len(provider.calls), cache.metrics.hits) == (1, 49)
        assert provider.calls[0].body["user"] == "user-0"


@pytest.mark.parametrize(
    "other",
    [
        {"model": "b"},
        {"tools": [WEATHER]},
        {"temperature": 0.5},
        {"newer_than_the_sdk": 1},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,x"}}]}]},
        {"tenant": "acme"},
        {"scope": "another key"},
    ],
)
async def test_other_requests_have_other_answers(other: Any) -> None:
    """Model B's answer for model A, tools or pictures missing from the key: what others got wrong."""
    provider = Scripted(completion("first"), completion("second"))
    async with caching() as cache:
        service = LLMService(provider, cache)
        first = await service.ask(chat(model="a"))
        second = await service.ask(chat(**{"model": "a", **other}))
        assert (first.content, second.content, second.cache_status) == ("first", "second", "miss")


@pytest.mark.parametrize("error", [TypeError("temprature"), MisspeltError("bad")])
async def test_a_mistake_of_the_caller_is_never_covered(error: Exception) -> None:
    """It is raised as it is, at once: no other provider is asked, no old and no similar answer is given."""
    clock, backup = FakeClock(), Scripted(name="backup")
    provider = Scripted(completion(), error)
    async with caching(clock) as cache:
        service = LLMService(FallbackOrchestrator([provider, backup]), cache)
        await service.ask(chat("How do I reset my password?"))
        clock.advance(15)
        for question in ("How do I reset my password?", "how can I reset my password"):
            with pytest.raises(type(error)) as raised:
                await service.ask(chat(question))
            assert raised.value.args == error.args
    assert backup.calls == []


async def test_an_empty_answer_of_the_first_asks_the_next_and_neither_is_stored_badly() -> None:
    provider, backup = Scripted(completion("")), Scripted(completion("Rome."), name="backup")
    async with caching(fallback_ttl=5) as cache:
        service = LLMService(FallbackOrchestrator([provider, backup]), cache)
        answer = await service.ask(chat())
        assert (answer.content, answer.fallback, answer.provider) == ("Rome.", True, "backup")


async def test_a_broken_answer_is_not_given_twice() -> None:
    """A retry asks again: what is unfit is in no cache."""
    provider = Scripted(completion('{"a": ', "length"), completion('{"a": 1}'))
    async with caching() as cache:
        service = LLMService(provider, cache)
        form = {"type": "json_object"}
        assert (await service.ask(chat(response_format=form))).content == '{"a": '
        assert (await service.ask(chat(response_format=form))).content == '{"a": 1}'
        assert cache.metrics.rejected == {"truncated": 1}


class TestToolsAndStale:
    async def test_a_request_with_tools_gets_nothing_stale_unless_it_asks(self) -> None:
        clock = FakeClock()
        provider = Scripted(tool_calls(), ConnectionError("down"))
        async with caching(clock) as cache:
            service = LLMService(provider, cache)
            call = chat(tools=[WEATHER])
            await service.answer(call)
            assert (await service.answer(call)).status == "hit"
            clock.advance(15)
            with pytest.raises(AllProvidersFailedError):
                await service.answer(call)
            old = await service.answer(call, Controls(stale_if_error=20))
            assert old.status == "stale"
            assert old.age == pytest.approx(15)
            with pytest.raises(AllProvidersFailedError):
                await service.answer(call)

    async def test_a_call_may_refuse_what_is_stale(self) -> None:
        clock = FakeClock()
        async with caching(clock) as cache:
            service = LLMService(Scripted(completion(), ConnectionError("down")), cache)
            await service.answer(chat())
            clock.advance(15)
            with pytest.raises(AllProvidersFailedError):
                await service.answer(chat(), Controls(stale_if_error=0))
            assert (await service.answer(chat())).status == "stale"

    @pytest.mark.parametrize(
        "fields",
        [
            {"tools": [WEATHER]},
            {"response_format": {"type": "json_object"}},
            {"n": 2},
            {"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "How do I reset it, please?"}]},
        ],
    )
    async def test_a_similar_answer_needs_a_plain_question(self, fields: Any) -> None:
        """No tools, no form of the answer, one answer, one turn."""
        provider = Scripted(completion('{"a": 1}'), ConnectionError("down"))
        async with caching() as cache:
            service = LLMService(provider, cache)
            await service.ask(chat("How do I reset it, please?", **fields))
            with pytest.raises(AllProvidersFailedError):
                changed = {**fields}
                if "messages" in changed:
                    changed["messages"] = [*changed["messages"][:1], {"role": "user", "content": "how do I reset it"}]
                await service.ask(chat("how do I reset it please", **changed))

    async def test_a_similar_question_in_a_chat_is_answered_at_the_very_end(self) -> None:
        provider = Scripted(completion("Click."), ConnectionError("down"))
        async with caching() as cache:
            service = LLMService(provider, cache)
            await service.ask(chat("How do I reset my password?"))
            found = await service.ask(chat("how can I reset my password"))
            assert (found.content, found.cache_status) == ("Click.", "similar")
            assert found.matched_message == "How do I reset my password?"


class TestControls:
    async def test_ttl(self) -> None:
        clock = FakeClock()
        async with caching(clock) as cache:
            service = LLMService(Scripted(), cache)
            await service.answer(chat(), Controls(ttl=2))
            clock.advance(3)
            assert (await service.answer(chat())).status == "miss"

    async def test_no_store_takes_what_is_stored_and_adds_nothing(self) -> None:
        provider = Scripted()
        async with caching() as cache:
            service = LLMService(provider, cache)
            assert (await service.answer(chat(), Controls(no_store=True))).status == "miss"
            assert (await service.answer(chat())).status == "miss"
            assert (await service.answer(chat(), Controls(no_store=True))).status == "hit"

    async def test_refresh_asks_and_replaces(self) -> None:
        async with caching() as cache:
            service = LLMService(Scripted(completion("old"), completion("new")), cache)
            await service.ask(chat())
            assert (await service.ask(chat(), Controls(refresh=True))).content == "new"
            assert (await service.ask(chat())).content == "new"

    async def test_max_age(self) -> None:
        clock = FakeClock()
        async with caching(clock) as cache:
            service = LLMService(Scripted(), cache)
            await service.answer(chat())
            clock.advance(5)
            assert (await service.answer(chat(), Controls(max_age=10))).status == "hit"
            assert (await service.answer(chat(), Controls(max_age=2))).status == "miss"

    async def test_only_if_cached_asks_no_provider(self) -> None:
        provider = Scripted()
        async with caching() as cache:
            service = LLMService(provider, cache)
            with pytest.raises(NotCachedError, match="absent"):
                await service.answer(chat(), Controls(only_if_cached=True))
            assert provider.calls == []
            await service.answer(chat())
            assert (await service.answer(chat(), Controls(only_if_cached=True))).status == "hit"

    @pytest.mark.parametrize("off", [True, False])
    async def test_only_if_cached_asks_no_provider_past_the_cache_either(self, off: bool) -> None:
        """The cache is off, or the request is one that never comes from it."""
        provider = Scripted()
        fields: Any = {} if off else {"prompt_cache_options": {"prewarm": True}}
        async with caching(enabled=not off) as cache:
            service = LLMService(provider, cache)
            asked, only = chat(**fields), Controls(only_if_cached=True)
            with pytest.raises(NotCachedError):
                await service.answer(asked, only)
            with pytest.raises(NotCachedError):
                await service.stream_of(asked, only).response()
            with pytest.raises(NotCachedError):
                await service.embed("a", cache=only)
        assert not provider.calls

    async def test_samples_are_kept_apart(self) -> None:
        async with caching() as cache:
            service = LLMService(Scripted(completion("a"), completion("b")), cache)
            for _ in range(2):
                answers = [await service.ask(chat(), Controls(sample=number)) for number in range(2)]
                assert [one.content for one in answers] == ["a", "b"]
            assert cache.metrics.hits == 2


class TestBypass:
    @pytest.mark.parametrize(
        ("fields", "reason"),
        [
            ({"prompt_cache_options": {"prewarm": True}}, "prompt_cache_options.prewarm"),
            ({"tools": [{"type": "mcp", "server_label": "x"}]}, "a tool of the kind mcp"),
            ({"messages": "no list"}, "unreadable"),
        ],
    )
    async def test_what_has_effects_or_cannot_be_read_passes_by(self, fields: Any, reason: str) -> None:
        provider = Scripted()
        async with caching() as cache:
            service = LLMService(provider, cache)
            call = Call(protocol="openai.chat", endpoint="e", body=said("x", **fields))
            answers = [await service.answer(call) for _ in range(2)]
        assert [(one.status, one.reason) for one in answers] == [("bypass", reason)] * 2
        assert len(provider.calls) == 2
        assert cache.flow.bypassed == {reason: 2}

    async def test_objects_of_the_provider_need_a_credential_in_the_key(self) -> None:
        part = {"type": "file", "file": {"file_id": "file-1"}}
        body = {"model": "m", "messages": [{"role": "user", "content": [part]}]}
        async with caching() as cache:
            service = LLMService(Scripted(), cache)
            call = Call(protocol="openai.chat", endpoint="e", body=body)
            assert (await service.answer(call)).status == "bypass"
            for status in ("miss", "hit"):
                scoped = Call(protocol="openai.chat", endpoint="e", body=body, scope="key")
                assert (await service.answer(scoped)).status == status

    async def test_an_allowed_tool_is_cached(self) -> None:
        async with caching(allowed_tools=frozenset({"mcp"})) as cache:
            service = LLMService(Scripted(), cache)
            call = chat(tools=[{"type": "mcp", "server_label": "x"}])
            assert [(await service.answer(call)).status for _ in range(2)] == ["miss", "hit"]

    @pytest.mark.parametrize("value", ["1", "true", "ON"])
    async def test_one_variable_switches_every_cache_off(self, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CACHECORE_OFF", value)
        provider = Scripted()
        async with ResponseCache("memory://") as cache:
            service = LLMService(provider, cache)
            for _ in range(2):
                assert (await service.generate("", "Hi")).cache_status == "bypass"
                stream = service.stream("", "Hi")
                assert (await stream.response()).cache_status == "bypass"
        assert len(provider.calls) == 4

    async def test_a_bypass_block_counts(self) -> None:
        async with caching() as cache:
            service = LLMService(Scripted(), cache)
            with bypass():
                assert (await service.answer(chat())).status == "bypass"
            assert cache.flow.bypassed == {"bypass()": 1}


async def test_a_slow_provider_is_covered_by_the_old_answer_meanwhile() -> None:
    clock, provider = FakeClock(), Scripted(completion("old"), completion("new"))
    async with caching(clock, soft_timeout=0.01) as cache:
        service = LLMService(provider, cache)
        await service.ask(chat())
        clock.advance(15)
        provider.gate = asyncio.Event()
        old = await service.ask(chat())
        assert (old.content, old.cache_status) == ("old", "stale")
        provider.gate.set()
        for _ in range(100):
            if cache.metrics.stored == 2:
                break
            await asyncio.sleep(0)
        assert (await service.ask(chat())).content == "new"


async def test_an_ignored_path_is_no_part_of_the_key() -> None:
    provider = Scripted()
    async with caching(ignore=frozenset({"messages[*].name", "trace"})) as cache:
        service = LLMService(provider, cache)
        for name in ("a", "b"):
            turn = {"role": "user", "content": "Hi", "name": name}
            await service.ask(Call(protocol="openai.chat", endpoint="e", body={"messages": [turn], "trace": name}))
    assert len(provider.calls) == 1
    with pytest.raises(OptionsError, match=r"messages\[0\]"):
        CacheConfig(ignore=frozenset({"messages[0]"}))


async def test_one_answer_is_deleted_or_expired_and_no_other() -> None:
    clock, provider = FakeClock(), Scripted(completion("a"), completion("b"), completion("c"), ConnectionError("down"))
    async with caching(clock) as cache:
        service = LLMService(provider, cache)
        await service.generate("s", "one", temperature=0)
        await service.generate("s", "two", temperature=0)
        assert await service.delete("s", "one", temperature=0)
        assert not await cache.delete("s", "one", temperature=0)
        assert (await service.generate("s", "one", temperature=0)).content == "c"
        assert await cache.expire("s", "two", temperature=0)
        old = await service.generate("s", "two", temperature=0)
        assert (old.content, old.cache_status) == ("b", "stale")


async def test_answers_of_a_model_are_made_invalid() -> None:
    provider = Scripted()
    async with caching() as cache:
        service = LLMService(provider, cache)
        await service.generate("", "Hi", model="good")
        await service.generate("", "Hi", model="bad")
        await cache.invalidate_model("bad")
        assert (await service.generate("", "Hi", model="good")).cache_status == "hit"
        assert (await service.generate("", "Hi", model="bad")).cache_status == "miss"


async def test_what_has_no_canonical_form_is_the_callers_mistake() -> None:
    async with caching() as cache:
        with pytest.raises(UnkeyableError, match="seed"):
            await LLMService(Scripted(), cache).generate("", "Hi", seed=object())


async def test_a_miss_says_why_and_an_answer_from_the_cache_does_not() -> None:
    async with caching() as cache:
        service = LLMService(Scripted(), cache)
        assert (await service.answer(chat())).reason == "absent"
        assert (await service.answer(chat())).reason is None
        assert await cache.flow.delete(chat())
        assert (await service.answer(chat())).reason == "deleted"
