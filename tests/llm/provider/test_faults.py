"""Faults of the transport: cut, hung, slow, truncated, held; and the deviations of compatible servers."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import anthropic as anthropic_sdk
import openai as openai_sdk
import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from cachecore_llm.testing.provider import LocalProvider
from tests.llm.provider import wire

STREAMS = [wire.CHAT, wire.RESPONSES, wire.MESSAGES]


def hi(text: str) -> Any:
    return [{"role": "user", "content": text}]


async def streamed(provider: LocalProvider, path: str, text: str) -> bytes:
    _, _, body = await wire.post(provider.port, path, wire.body_for(path, text, stream=True))
    return body


async def deltas(client: AsyncOpenAI, text: str) -> list[str]:
    stream = await client.chat.completions.create(model="m", messages=hi(text), stream=True)
    return [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]


@pytest.mark.parametrize("path", STREAMS)
async def test_a_cut_stream_never_ends(path: str, provider: LocalProvider) -> None:
    """The events before the cut arrive, the body has no end, and the connection is closed."""
    whole = wire.events_in(await streamed(provider, path, "[[say one two three]]"))
    body = await streamed(provider, path, "[[say one two three]] [[cut 3]]")
    assert body.count(b"data: ") == 3
    assert not body.endswith(b"0\r\n\r\n")
    late = await streamed(provider, path, "[[say one two three]] [[cut 1000]]")
    assert late.count(b"data: ") == len(whole)
    assert not late.endswith(b"0\r\n\r\n")
    assert await wire.exchange(provider.port, wire.request(path, wire.body_for(path, "[[cut]]", stream=True))) == b""
    await provider.until(lambda: provider.active == 0)
    assert [call.outcome for call in provider.requests] == ["complete", "cut", "cut", "cut"]
    assert [call.events for call in provider.requests] == [len(whole), 3, len(whole), 0]


async def test_the_sdks_on_a_cut(openai: AsyncOpenAI, anthropic: AsyncAnthropic) -> None:
    with pytest.raises(openai_sdk.APIConnectionError):
        await deltas(openai, "[[cut 3]]")
    with pytest.raises(openai_sdk.APIConnectionError):
        await openai.chat.completions.create(model="m", messages=hi("[[cut]]"))
    with pytest.raises(openai_sdk.APIConnectionError):
        await openai.chat.completions.create(model="m", messages=hi("[[cut 1]]"))
    with pytest.raises(anthropic_sdk.APIConnectionError):
        await anthropic.messages.create(model="m", max_tokens=9, messages=hi("[[cut]]"))
    # A clean early end goes unnoticed by both: the reason why a cache has to look itself.
    assert await deltas(openai, "[[say one two three]] [[end 3]]") == ["", "one", " two"]


@pytest.mark.parametrize("path", STREAMS)
async def test_an_early_end_and_truncated_json(path: str, provider: LocalProvider) -> None:
    assert len(wire.events_in(await streamed(provider, path, "[[end 3]]"))) == 3
    *before, last = wire.events_in(await streamed(provider, path, "[[truncate 3]]"))
    assert (len(before), last.endswith(b"\n\n")) == (3, False)
    for text in ("[[truncate]]", "[[end 1]]"):
        status, headers, body = await wire.post(provider.port, path, wire.body_for(path, text))
        assert (status, int(headers["content-length"])) == (200, len(body))
        with pytest.raises(ValueError):
            json.loads(body)
    _, headers, body = await wire.post(provider.port, path, wire.body_for(path, "[[cut 1]]"))
    assert 0 < len(body) < int(headers["content-length"])


@pytest.mark.parametrize("path", STREAMS)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_hung_answer_lasts_until_the_client_leaves(path: str, stream: bool, provider: LocalProvider) -> None:
    for text, marker in (("[[hang]]", b""), ("[[hang 2]]", b"\r\n\r\n")):
        reader, writer = await asyncio.open_connection("127.0.0.1", provider.port)
        writer.write(wire.request(path, wire.body_for(path, text, stream=stream)))
        if marker:
            await reader.readuntil(marker)
        await provider.until(lambda: provider.active == 1)
        if stream and marker:
            await provider.until(lambda: provider.requests[-1].events == 2)
        call = provider.requests[-1]
        assert call.outcome == "pending"
        assert call.status == (200 if marker else None)
        writer.close()
        await writer.wait_closed()
        await provider.until(lambda: provider.active == 0)
        assert provider.requests[-1].outcome == "abandoned"


async def test_a_client_that_leaves_ends_its_stream(provider: LocalProvider, openai: AsyncOpenAI) -> None:
    stream = await openai.chat.completions.create(model="m", messages=hi("[[words 1000]] [[hang 20]]"), stream=True)
    async for chunk in stream:
        if chunk.choices[0].delta.content:
            break
    await stream.close()
    await provider.until(lambda: provider.requests[-1].outcome == "abandoned")
    assert provider.requests[-1].events <= 20


async def test_delay_and_pace(provider: LocalProvider, openai: AsyncOpenAI) -> None:
    begun = time.monotonic()
    await openai.chat.completions.create(model="m", messages=hi("[[delay 0.1]]"))
    assert time.monotonic() - begun >= 0.1
    begun = time.monotonic()
    await deltas(openai, "[[say one two three]] [[pace 0.02]]")
    assert time.monotonic() - begun >= 0.02 * (provider.requests[-1].events - 1)


@pytest.mark.parametrize("path", STREAMS)
async def test_pings(path: str, provider: LocalProvider) -> None:
    events = wire.events_in(await streamed(provider, path, "[[say one two three]] [[pings 2]]"))
    ping = b"event: ping\n" if path == wire.MESSAGES else b": ping\n\n"
    assert sum(ping in event for event in events[1::2]) == len(events) // 2


async def test_the_sdks_pass_over_pings_and_comments(openai: AsyncOpenAI, anthropic: AsyncAnthropic) -> None:
    assert "".join(await deltas(openai, "[[say one two]] [[pings]] [[compat comments]]")) == "one two"
    async with anthropic.messages.stream(model="m", max_tokens=9, messages=hi("[[say one two]] [[pings]]")) as stream:
        assert await stream.get_final_text() == "one two"


@pytest.mark.parametrize("path", STREAMS)
@pytest.mark.parametrize("deviation", ["crlf", "no-space", "comments"])
async def test_other_ways_to_write_events(path: str, deviation: str, provider: LocalProvider) -> None:
    body = b"".join(wire.events_in(await streamed(provider, path, f"[[compat {deviation}]] [[say one]]")))
    if deviation == "crlf":
        assert body.count(b"\n") == body.count(b"\r\n") > 0
    elif deviation == "no-space":
        assert b"data:{" in body
        assert b"data: " not in body
    else:
        assert body.startswith(b": PROCESSING\n\n")


async def test_deviations_of_chat(openai: AsyncOpenAI) -> None:
    async def chunks(text: str) -> list[Any]:
        return [
            chunk async for chunk in await openai.chat.completions.create(model="m", messages=hi(text), stream=True)
        ]

    assert {chunk.choices[0].finish_reason for chunk in await chunks("[[compat no-finish]]")} == {None}
    tools = '[[tool:a {"x": "some words here"}]]'
    assert (await chunks(f"{tools} [[compat stop-for-tools]]"))[-1].choices[0].finish_reason == "stop"
    first, *rest = await chunks("[[compat empty-first]]")
    assert first.choices == []
    assert all(chunk.choices for chunk in rest)
    whole = [chunk.choices[0].delta.tool_calls for chunk in await chunks(f"{tools} [[compat whole-tools]]")]
    assert [calls[0].function.arguments for calls in whole if calls] == ['{"x": "some words here"}']
    assert (await chunks("[[compat finish-error]]"))[-1].choices[0].finish_reason == "error"
    assert all(
        chunk.usage.completion_tokens == n for n, chunk in enumerate(await chunks("[[compat usage-everywhere]]"), 1)
    )
    assert await chunks("[[say one]] [[compat no-done]]")
    with pytest.raises(openai_sdk.APIError):
        await chunks("[[compat error-200]]")
    answer: Any = await openai.chat.completions.create(model="m", messages=hi("[[compat no-finish]]"))
    assert answer.choices[0].finish_reason is None


async def test_deviations_under_status_200(provider: LocalProvider) -> None:
    for path in (*STREAMS, wire.EMBEDDINGS):
        body = {"model": "m", "input": "a"} if path == wire.EMBEDDINGS else wire.body_for(path, "a")
        status, _, text = await wire.post(provider.port, path, body, x_provider_directives="[[compat error-200]]")
        assert (status, "error" in json.loads(text)) == (200, True)
    status, _, text = await wire.post(provider.port, wire.CHAT, wire.body_for(wire.CHAT, "[[compat error-object]]"))
    assert (status, json.loads(text)["object"]) == (200, "error")
    assert b"[DONE]" not in await streamed(provider, wire.CHAT, "[[compat no-done]]")


async def test_a_server_that_does_not_know_stream_options() -> None:
    async with (
        LocalProvider(directives="[[compat no-stream-options]]") as provider,
        AsyncOpenAI(base_url=provider.openai_url, api_key="key") as client,
    ):
        options: Any = {"include_usage": True}
        with pytest.raises(openai_sdk.BadRequestError, match="stream_options") as caught:
            await client.chat.completions.create(model="m", messages=hi("a"), stream=True, stream_options=options)
        assert caught.value.param == "stream_options"
        assert await deltas(client, "[[say one]]") == ["", "one", ""]
