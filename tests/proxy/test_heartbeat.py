"""Signs of life while a stream waits for its provider: SDKs do not see them, proxies on the way do."""

from __future__ import annotations

import asyncio

import pytest

from cachecore_llm.testing.provider import LocalProvider
from tests.proxy.conftest import NO_END, Gateways, chat, messages, text_of


@pytest.mark.parametrize(("path", "sign"), [("chat/completions", ": \n\n"), ("messages", "event: ping\n")])
async def test_stream_that_waits_shows_that_it_lives(
    gateways: Gateways, provider: LocalProvider, monkeypatch: pytest.MonkeyPatch, path: str, sign: str
) -> None:
    monkeypatch.setattr("cachecore_proxy.heartbeat.EVERY", 0.05)
    running = await gateways.start()
    http = await gateways.http(running)
    provider.hold(after=8)
    body = chat("[[words 40]] Hi", stream=True, max_tokens=99)

    async def streamed() -> str:
        said = ""
        headers = {"x-api-key": "k-1", "anthropic-version": "2023-06-01"} if path == "messages" else {}
        async with http.stream("POST", f"/v1/{path}", json=body, headers=headers) as raw:
            async for text in raw.aiter_text():
                if sign in text:
                    provider.release()
                said += text
        return said

    async with asyncio.timeout(NO_END):
        said = await streamed()
    assert sign in said
    assert ("[DONE]" in said) or ("message_stop" in said)


async def test_sdk_reads_a_stream_with_signs_of_life(
    gateways: Gateways, provider: LocalProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cachecore_proxy.heartbeat.EVERY", 0.05)
    running = await gateways.start()
    client, anthropic = await gateways.openai(running), await gateways.anthropic(running)
    prompt = "[[words 6]] [[chunks 2]] [[pace 1.1]] Hi"
    said = await text_of(await client.chat.completions.create(model="m", messages=messages(prompt), stream=True))
    whole = await client.chat.completions.create(model="m", messages=messages(prompt))
    assert said == whole.choices[0].message.content
    async with anthropic.messages.stream(model="m", max_tokens=99, messages=messages("[[words 9]] Hi")) as stream:
        assert await stream.get_final_text()
