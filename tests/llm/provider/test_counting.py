"""Counting calls, holding answers and waiting for both, without a clock."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI

from cachecore_llm.testing.provider import LocalProvider
from tests.llm.provider import wire


def hi(text: str) -> Any:
    return [{"role": "user", "content": text}]


async def test_calls_are_counted_by_what_they_are(provider: LocalProvider, openai: AsyncOpenAI) -> None:
    await openai.chat.completions.create(model="m", messages=hi("a"), extra_headers={"x-trace": "1"})
    await openai.chat.completions.create(model="m", messages=hi("a"))
    await openai.responses.create(model="m", input="a")
    await openai.embeddings.create(model="m", input=["a", "b"])
    assert provider.calls == 4
    assert provider.calls_for("a") == 3
    assert provider.calls_for("a", protocol="openai.chat") == 2
    assert provider.calls_for("b") == 0
    assert provider.calls_for(body={"model": "m", "input": "a"}) == 1
    first = provider.requests[0]
    assert (first.number, first.protocol, first.path, first.stream) == (1, "openai.chat", "/v1/chat/completions", False)
    assert first.headers["x-trace"] == "1"
    assert first.body["messages"] == hi("a")
    assert (first.status, first.outcome) == (200, "complete")
    provider.reset()
    assert (provider.calls, provider.requests) == (0, ())


async def test_prompts_and_bodies_stay_out_of_texts(provider: LocalProvider, openai: AsyncOpenAI) -> None:
    """A failing test prints a call; prompts and credentials belong in no log."""
    await openai.chat.completions.create(model="m", messages=hi("a secret"))
    shown = repr(provider.requests[0])
    assert "openai.chat" in shown
    assert "secret" not in shown
    assert "Bearer" not in shown


async def test_held_answers_wait_and_go_in_order(provider: LocalProvider, openai: AsyncOpenAI) -> None:
    provider.hold()
    done: list[str] = []

    async def call(text: str) -> None:
        await openai.chat.completions.create(model="m", messages=hi(text))
        done.append(text)

    calls = []
    for n, text in enumerate("abcd", 1):
        calls.append(asyncio.create_task(call(text)))
        await provider.until(lambda n=n: provider.held == n)  # type: ignore[misc] # mypy cannot infer a default's type
    assert (provider.calls, provider.active, provider.most_at_once, done) == (4, 4, 4, [])
    provider.release(1)
    await calls[0]
    assert done == ["a"]
    with pytest.raises(ValueError, match="only 3 answers are held"):
        provider.release(4)
    calls[1].cancel()  # a client that leaves is held no longer
    await provider.until(lambda: provider.held == 2)
    provider.release()
    await asyncio.gather(*calls[2:])
    assert sorted(done) == ["a", "c", "d"]
    assert [call.outcome for call in provider.requests] == ["complete", "abandoned", "complete", "complete"]
    await call("e")


async def test_streams_are_held_after_events(provider: LocalProvider, openai: AsyncOpenAI) -> None:
    provider.hold(after=3)
    stream = await openai.chat.completions.create(model="m", messages=hi("[[say one two three]]"), stream=True)
    texts = []
    async for chunk in stream:
        texts.append(chunk.choices[0].delta.content)
        if len(texts) == 3:
            assert provider.held == 1
            assert provider.requests[0].events == 3
            provider.release()
    assert texts == ["", "one", " two", " three", None]


async def test_the_largest_number_at_once(provider: LocalProvider, openai: AsyncOpenAI) -> None:
    for text in "abc":
        await openai.chat.completions.create(model="m", messages=hi(text))
    assert provider.most_at_once == 1
    provider.hold()
    calls = [asyncio.create_task(openai.chat.completions.create(model="m", messages=hi(text))) for text in "abcde"]
    await provider.until(lambda: provider.held == 5)
    provider.release()
    await asyncio.gather(*calls)
    assert (provider.most_at_once, provider.active) == (5, 0)


async def test_queued_directives_go_to_the_next_requests(provider: LocalProvider, openai: AsyncOpenAI) -> None:
    provider.queue("[[say first]]", "", "[[say third]]")
    texts = [(await openai.responses.create(model="m", input="[[say own]]")).output_text for _ in range(4)]
    assert texts == ["first", "own", "third", "own"]
    provider.queue("[[say left]]")
    provider.reset()
    assert (await openai.responses.create(model="m", input="[[say own]]")).output_text == "own"


async def test_directives_of_a_header(openai: AsyncOpenAI) -> None:
    headers = {"x-provider-directives": "[[say from the header]]"}
    assert (
        await openai.responses.create(model="m", input="[[say own]]", extra_headers=headers)
    ).output_text == "from the header"


async def test_requests_that_are_not_kept_are_not_miscounted() -> None:
    async with LocalProvider(keep=2) as provider, AsyncOpenAI(base_url=provider.openai_url, api_key="key") as client:
        for text in "abc":
            await client.chat.completions.create(model="m", messages=hi(text))
        assert [call.prompt for call in provider.requests] == ["b", "c"]
        assert provider.calls == 3
        with pytest.raises(RuntimeError, match="larger keep="):
            provider.calls_for("a")
    async with LocalProvider(keep_bytes=200) as provider:
        for _ in range(5):
            await wire.post(provider.port, wire.CHAT, wire.body_for(wire.CHAT, "x" * 60))
        assert sum(len(call.raw) for call in provider.requests) <= 200
        assert 1 <= len(provider.requests) < 5


async def test_a_wait_that_is_too_long_says_where_it_stands(provider: LocalProvider) -> None:
    with pytest.raises(TimeoutError, match="0 calls, 0 active, 0 held"):
        await provider.until(lambda: provider.calls == 1, timeout=0.01)
    with pytest.raises(ZeroDivisionError):
        await provider.until(lambda: 1 / 0 > 1)
    with pytest.raises(RuntimeError, match="would block the loop"):
        provider.wait_until(lambda: True)


def test_from_threads() -> None:
    """All of it from a thread that blocks, while others call."""
    with LocalProvider() as provider, ThreadPoolExecutor(4) as pool:
        provider.hold()
        with OpenAI(base_url=provider.openai_url, api_key="key", max_retries=0) as client:
            calls = [pool.submit(client.responses.create, model="m", input=f"[[say {n}]]") for n in range(4)]
            provider.wait_until(lambda: provider.held == 4)
            provider.release()
            assert sorted(call.result(60).output_text for call in calls) == ["0", "1", "2", "3"]
        assert provider.most_at_once == 4
        with pytest.raises(TimeoutError):
            provider.wait_until(lambda: provider.calls == 5, timeout=0.01)
