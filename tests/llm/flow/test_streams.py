"""Streams: what readers share, what is stored of them, and what happens when one breaks off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from cachecore.testing.clocks import FakeClock
from cachecore_llm import AllProvidersFailedError, Controls, LLMService, LLMStream, NotCachedError, UnusableAnswerError
from cachecore_llm.wire import Call, JsonObject
from tests.llm.flow.scripted import WEATHER, Scripted, caching, chat, completion, tool_calls

TEXT = "one two three four five six"


async def text_of(stream: LLMStream) -> str:
    return "".join([piece async for piece in stream])


async def turns() -> None:
    """Let every task that can run do so, until it waits for the provider."""
    for _ in range(50):
        await asyncio.sleep(0)


async def test_readers_at_the_same_time_share_one_stream() -> None:
    provider = Scripted(completion(TEXT))
    provider.gate = asyncio.Event()
    async with caching() as cache:
        service = LLMService(provider, cache)
        streams = [service.stream_of(chat()) for _ in range(3)]
        first = aiter(streams[0])
        assert await anext(first) == "one"
        others = [asyncio.create_task(text_of(stream)) for stream in streams[1:]]
        await turns()
        provider.gate.set()
        assert "one" + "".join([piece async for piece in first]) == TEXT
        assert [await other for other in others] == [TEXT, TEXT]
        assert [stream.cache_status for stream in streams] == ["miss", "joined", "joined"]
        answers = [await stream.response() for stream in streams]
        assert [one.content for one in answers] == [TEXT] * 3
        assert [one.cached for one in answers] == [False, True, True]
        assert [one.usage and one.usage.total_tokens for one in answers] == [15] * 3
        row = cache.ledger.total()
        assert (row.spent.calls, row.saved.calls, len(provider.calls)) == (1, 2, 1)


async def test_what_one_reader_does_to_an_event_no_other_sees() -> None:
    provider = Scripted(completion(TEXT))
    async with caching() as cache:
        service = LLMService(provider, cache)
        for _ in range(3):
            stream = service.stream_of(chat())
            async for event in stream.events():
                for choice in event.get("choices", ()):
                    choice["delta"].clear()
                event["id"] = "changed"
            answer = await stream.response()
            assert (answer.content, answer.body and answer.body["id"]) == (TEXT, "c1")


@pytest.mark.parametrize("body", [completion(TEXT), tool_calls(), completion(TEXT, reasoning_content="hm")])
async def test_stream_and_whole_are_one_answer(body: JsonObject) -> None:
    """Either is stored, and serves the other: text, tool calls and reasoning."""
    for stream_first in (True, False):
        provider = Scripted(body)
        async with caching() as cache:
            service = LLMService(provider, cache)
            call = chat(tools=[WEATHER])
            answers = [
                await service.stream_of(call).response() if streamed else await service.ask(call)
                for streamed in (stream_first, not stream_first)
            ]
            assert [one.cache_status for one in answers] == ["miss", "hit"]
            assert answers[0].content == answers[1].content == (body["choices"][0]["message"]["content"] or "")
            assert answers[0].tool_calls == answers[1].tool_calls
            assert answers[0].reasoning == answers[1].reasoning
            assert len(provider.calls) == 1


async def test_a_stream_comes_again_in_its_own_pieces() -> None:
    provider = Scripted(completion(TEXT))
    async with caching() as cache:
        service = LLMService(provider, cache)
        first, second, third = [await _all(service) for _ in range(3)]
        assert first == second == third
        assert "".join(event["choices"][0]["delta"].get("content") or "" for event in first[:-1]) == TEXT
        assert len(provider.calls) == 1


async def _all(service: LLMService) -> list[JsonObject]:
    return [event async for event in service.stream_of(chat()).events()]


async def test_a_stream_that_was_cut_is_not_stored() -> None:
    """It ended in good order and without a finish: the SDKs would not notice, the cache does."""
    provider = Scripted(completion(TEXT))
    provider.cut_after = 4
    async with caching() as cache:
        service = LLMService(provider, cache)
        stream = service.stream_of(chat())
        assert TEXT.startswith(await text_of(stream))
        assert (await stream.response()).finish_reason is None
        provider.cut_after = None
        assert await text_of(service.stream_of(chat())) == TEXT
        assert len(provider.calls) == 2


async def test_a_stream_that_breaks_off_after_its_first_text_raises() -> None:
    """Neither a stale nor a similar answer follows on half of another."""
    clock, provider = FakeClock(), Scripted(completion("old"), completion(TEXT))
    async with caching(clock) as cache:
        service = LLMService(provider, cache)
        await service.ask(chat())
        clock.advance(15)
        provider.break_after = 4
        stream = service.stream_of(chat())
        for read in (text_of(stream), stream.response()):  # half an answer is never taken for a whole one
            with pytest.raises(ConnectionError):
                await read
        assert stream.cache_status == "miss"


async def test_before_the_first_text_the_old_answer_stands_in() -> None:
    clock, provider = FakeClock(), Scripted(completion("old"), ConnectionError("down"))
    async with caching(clock) as cache:
        service = LLMService(provider, cache)
        await service.ask(chat())
        clock.advance(15)
        stream = service.stream_of(chat())
        assert await text_of(stream) == "old"
        assert ((await stream.response()).cache_status, stream.cache_status) == ("stale", "stale")


async def test_before_the_first_text_a_similar_answer_stands_in() -> None:
    provider = Scripted(completion("Click."), ConnectionError("down"))
    async with caching() as cache:
        service = LLMService(provider, cache)
        await service.ask(chat("How do I reset my password?"))
        stream = service.stream_of(chat("how can I reset my password"))
        answer = await stream.response()
        assert (answer.content, answer.cache_status) == ("Click.", "similar")
        assert answer.matched_message == "How do I reset my password?"
        with pytest.raises(AllProvidersFailedError):
            await text_of(service.stream_of(chat("Something else altogether?")))


async def test_a_reader_that_leaves_does_not_end_the_others() -> None:
    """A joiner gets the whole answer although the first reader has gone; nothing empty is ever handed out."""
    provider = Scripted(completion(TEXT))
    provider.gate = asyncio.Event()
    async with caching() as cache:
        service = LLMService(provider, cache)
        leaving, staying = service.stream_of(chat()), service.stream_of(chat())
        assert await anext(aiter(leaving)) == "one"
        rest = asyncio.create_task(text_of(staying))
        whole = asyncio.create_task(service.ask(chat()))
        await turns()
        await leaving.aclose()
        provider.gate.set()
        assert await rest == TEXT
        assert (await whole).content == TEXT
        assert len(provider.calls) == 1


async def test_the_last_reader_that_leaves_ends_the_stream() -> None:
    provider = Scripted(completion(TEXT))
    provider.gate = asyncio.Event()
    async with caching() as cache:
        service = LLMService(provider, cache)
        stream = service.stream_of(chat())
        assert await anext(aiter(stream)) == "one"
        await stream.aclose()
        with pytest.raises(UnusableAnswerError, match="left"):
            await stream.response()
        for _ in range(100):
            if provider.closed:
                break
            await asyncio.sleep(0)
        assert provider.closed == 1
        assert cache.metrics.stored == 0
        provider.gate = None
        assert await text_of(service.stream_of(chat())) == TEXT


class Odd(Scripted):
    """Streams a shape that this version does not know."""

    async def stream(self, call: Call) -> AsyncGenerator[JsonObject, None]:
        async for event in super().stream(call):
            yield {**event, "choices": [*event["choices"], "odd"]} if event["choices"] else event


async def test_a_stream_of_an_unknown_shape_serves_streams_only() -> None:
    provider = Odd(completion(TEXT))
    async with caching() as cache:
        service = LLMService(provider, cache)
        first = [event async for event in service.stream_of(chat()).events()]
        assert [event async for event in service.stream_of(chat()).events()] == first
        assert len(provider.calls) == 1
        assert await cache.flow.find(chat()) is None
        assert (await service.ask(chat())).cache_status == "miss"
        assert (await service.ask(chat())).cache_status == "hit"
        assert await text_of(service.stream_of(chat())) == TEXT
        assert len(provider.calls) == 2


async def test_usage_is_shown_to_those_who_ask_for_it() -> None:
    """A chunk with empty choices breaks a caller who did not ask for one."""
    async with caching() as cache:
        service = LLMService(Scripted(completion(TEXT)), cache)

        async def events(**fields: Any) -> list[JsonObject]:
            call = chat(stream=True, **fields)
            return [event async for event in cache.flow.stream(call, lambda _: service._orchestrator.stream(call))]

        for _ in range(2):
            without = await events()
            with_usage = await events(stream_options={"include_usage": True})
            assert all(event["choices"] for event in without)
            assert not any("usage" in event for event in without)
            assert with_usage[-1]["usage"]["total_tokens"] == 15


class TestControls:
    async def test_only_if_cached(self) -> None:
        provider = Scripted(completion(TEXT))
        async with caching() as cache:
            service = LLMService(provider, cache)
            with pytest.raises(NotCachedError):
                await text_of(service.stream_of(chat(), Controls(only_if_cached=True)))
            await service.ask(chat())
            assert await text_of(service.stream_of(chat(), Controls(only_if_cached=True))) == TEXT

    async def test_refresh_replaces(self) -> None:
        provider = Scripted(completion("old"), completion("new"))
        async with caching() as cache:
            service = LLMService(provider, cache)
            await service.ask(chat())
            assert await text_of(service.stream_of(chat(), Controls(refresh=True))) == "new"
            assert (await service.ask(chat())).content == "new"

    async def test_no_store(self) -> None:
        provider = Scripted(completion("a"), completion("b"))
        async with caching() as cache:
            service = LLMService(provider, cache)
            assert await text_of(service.stream_of(chat(), Controls(no_store=True))) == "a"
            assert await text_of(service.stream_of(chat())) == "b"


@pytest.mark.parametrize("fields", [{"prompt_cache_options": {"prewarm": True}}, {"messages": "unreadable"}])
async def test_a_bypassed_stream_is_not_shared(fields: Any) -> None:
    provider = Scripted(completion(TEXT))
    async with caching() as cache:
        service = LLMService(provider, cache)
        call = Call(protocol="openai.chat", endpoint="e", body={**chat().body, **fields})
        for _ in range(2):
            stream = service.stream_of(call)
            assert await text_of(stream) == TEXT
            assert stream.cache_status == "bypass"
        assert len(provider.calls) == 2


async def test_a_stream_says_why_it_was_no_hit() -> None:
    provider = Scripted(completion(TEXT))
    reasons = []
    async with caching() as cache:
        for _ in range(2):
            async with cache.flow.stream(chat(), provider.stream) as stream:
                assert [event async for event in stream]
            reasons.append((stream.status, stream.reason))
        await cache.flow.delete(chat())
        async with cache.flow.stream(chat(), provider.stream) as stream:
            assert [event async for event in stream]
        reasons.append((stream.status, stream.reason))
    assert reasons == [("miss", "absent"), ("hit", None), ("miss", "deleted")]
