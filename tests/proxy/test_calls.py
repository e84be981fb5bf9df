"""Programs that know the gateway's address and no more of it: what hits, what is shared, what is passed through."""

from __future__ import annotations

import asyncio
import json

import httpx2
import openai
import pytest

from cachecore_llm.testing.provider import LocalProvider
from tests.proxy.conftest import Gateways, chat, messages, text_of, until


async def test_second_request_is_a_hit_and_says_so(gateways: Gateways, provider: LocalProvider) -> None:
    """The first is the provider's own answer, the second equal to it; headers tell, as RFC 9211 and 9111 say."""
    client = await gateways.openai(await gateways.start())
    first = await client.chat.completions.with_raw_response.create(model="m", messages=messages("Hi"))
    second = await client.chat.completions.with_raw_response.create(model="m", messages=messages("Hi"), user="ann")
    assert provider.calls == 1
    assert first.parse() == second.parse()
    key = first.headers["cache-status"].partition("key=")[2]
    assert first.headers["cache-status"] == f"cachecore; fwd=miss; stored; key={key}"
    assert second.headers["cache-status"].startswith("cachecore; hit; ttl=")
    assert second.headers["cache-status"].endswith(f"key={key}")
    assert 0 <= int(second.headers["age"]) < 60
    assert "age" not in first.headers
    assert first.headers["x-request-id"] == second.headers["x-request-id"]


async def test_all_protocols_hit(gateways: Gateways, provider: LocalProvider) -> None:
    """Responses, embeddings and Anthropic's messages, whole; what is no call passes through each time."""
    running = await gateways.start()
    client, anthropic = await gateways.openai(running), await gateways.anthropic(running)
    for _ in range(2):
        response = await client.responses.create(model="m", input="Hi", metadata={"who": "ann"})
        assert response.output_text
        assert response.metadata == {"who": "ann"}
        vectors = await client.embeddings.create(model="e", input=["a", "b"])
        assert [vector.index for vector in vectors.data] == [0, 1]
        message = await anthropic.messages.create(model="m", max_tokens=50, messages=messages("Hi"))
        assert message.content
        assert [model.id async for model in client.models.list()]
    assert provider.calls == 3


async def test_embeddings_are_kept_one_by_one(gateways: Gateways, provider: LocalProvider) -> None:
    client = await gateways.openai(await gateways.start())
    await client.embeddings.create(model="e", input=["b", "a"])
    raw = await client.embeddings.with_raw_response.create(model="e", input=["a", "b", "c"])
    assert raw.headers["cache-status"] == "cachecore; fwd=partial; stored"
    assert [vector.index for vector in raw.parse().data] == [0, 1, 2]
    assert provider.requests[-1].body["input"] in ("c", ["c"])
    raw = await client.embeddings.with_raw_response.create(model="e", input="a")
    assert raw.headers["cache-status"].startswith("cachecore; hit; ttl=")


async def test_one_call_for_twenty_callers(gateways: Gateways, provider: LocalProvider) -> None:
    """Whole answers asked for at once are one call; the others say that they were collapsed into it."""
    running = await gateways.start()
    client = await gateways.openai(running)
    await client.chat.completions.create(model="m", messages=messages("warm"))
    provider.hold()
    asked = [client.chat.completions.with_raw_response.create(model="m", messages=messages("Hi")) for _ in range(20)]
    callers = [asyncio.ensure_future(one) for one in asked]
    await provider.until(lambda: provider.held == 1)
    await until(lambda: running.gateway.activity.under_way == 20)  # one that comes later is a hit
    provider.release()
    told = [
        (raw.parse().choices[0].message.content, raw.headers["cache-status"]) for raw in await asyncio.gather(*callers)
    ]
    assert provider.calls == 2
    assert len({text for text, _ in told}) == 1
    assert sum("collapsed" in said for _, said in told) == 19


@pytest.mark.parametrize("protocol", ["chat", "responses", "messages"])
async def test_streams_of_one_prompt_are_one_call(gateways: Gateways, provider: LocalProvider, protocol: str) -> None:
    """Twenty readers, one call; one leaves in the middle and takes nothing from the others; then it is replayed."""
    running = await gateways.start()
    client, anthropic = await gateways.openai(running), await gateways.anthropic(running)
    prompt = "[[words 40]] Tell me"

    async def streamed(text: str = prompt, leave: bool = False) -> str:
        said = ""
        if protocol == "messages":
            async with anthropic.messages.stream(model="m", max_tokens=99, messages=messages(text)) as stream:
                async for piece in stream.text_stream:
                    said += piece
                    if leave:
                        break
            return said
        if protocol == "chat":
            async with await client.chat.completions.create(model="m", messages=messages(text), stream=True) as chunks:
                async for chunk in chunks:
                    said += chunk.choices[0].delta.content or ""
                    if leave and said:
                        break
            return said
        async with client.responses.stream(model="m", input=text) as events:
            async for event in events:
                if event.type == "response.output_text.delta":
                    said += event.delta
                    if leave:
                        break
        return said

    await streamed("warm")
    provider.hold(after=8)
    readers = [asyncio.ensure_future(streamed(leave=n == 0)) for n in range(20)]
    await provider.until(lambda: provider.held == 1)
    provider.release()
    leaver, *texts = await asyncio.gather(*readers)
    assert provider.calls == 2
    assert len(set(texts)) == 1
    assert texts[0].startswith(leaver)
    assert await streamed() == texts[0]
    assert provider.calls == 2


async def test_stream_and_whole_share_an_answer(gateways: Gateways, provider: LocalProvider) -> None:
    client = await gateways.openai(await gateways.start())
    raw = await client.chat.completions.with_raw_response.create(model="m", messages=messages("Hi"), stream=True)
    said = await text_of(raw.parse())
    assert raw.headers["content-type"].startswith("text/event-stream")
    assert "stored" not in raw.headers["cache-status"]
    whole = await client.chat.completions.create(model="m", messages=messages("Hi"))
    assert whole.choices[0].message.content == said
    raw = await client.chat.completions.with_raw_response.create(model="m", messages=messages("Hi"), stream=True)
    assert raw.headers["cache-status"].startswith("cachecore; hit; ttl=")
    assert 0 <= int(raw.headers["age"]) < 60
    assert await text_of(raw.parse()) == said
    assert provider.calls == 1


async def test_errors_reach_the_caller_as_they_came(gateways: Gateways, provider: LocalProvider) -> None:
    """Status, body and retry-after are the provider's; nothing is stored."""
    client = await gateways.openai(await gateways.start())
    for _ in range(2):
        with pytest.raises(openai.RateLimitError) as raised:
            await client.chat.completions.create(model="m", messages=messages("[[error 429 retry-after=7]]"))
        assert raised.value.response.headers["retry-after"] == "7"
        assert raised.value.response.headers["cache-status"] == "cachecore; fwd=miss; fwd-status=429"
    with pytest.raises(openai.BadRequestError):
        await client.chat.completions.create(model="m", messages=[])
    assert provider.calls == 3


async def test_cut_stream_breaks_for_its_reader(gateways: Gateways, provider: LocalProvider) -> None:
    """A clean end would look like a whole answer to both SDKs; the answer is not stored."""
    client = await gateways.openai(await gateways.start())
    for _ in range(2):
        with pytest.raises((openai.APIConnectionError, httpx2.RemoteProtocolError)):
            await text_of(
                await client.chat.completions.create(
                    model="m", messages=messages("[[words 40]] [[cut 20]]"), stream=True
                )
            )
    assert provider.calls == 2


async def test_error_inside_a_stream_is_passed_on(gateways: Gateways, provider: LocalProvider) -> None:
    client = await gateways.openai(await gateways.start())
    with pytest.raises(openai.APIError, match=r"."):
        await text_of(
            await client.chat.completions.create(model="m", messages=messages("[[words 40]] [[fail 20]]"), stream=True)
        )
    assert provider.calls == 1


async def test_body_that_is_no_call_is_the_providers_to_judge(gateways: Gateways, provider: LocalProvider) -> None:
    http = await gateways.http(await gateways.start())
    for sent in (b"", b"{", b"[]", b"\xff", json.dumps(chat(messages="none", stream=True)).encode()):
        raw = await http.post("/v1/chat/completions", content=sent)
        assert raw.status_code == 400
        assert "cachecore" not in raw.text
    assert provider.calls == 5


async def test_other_paths_pass_both_ways(gateways: Gateways) -> None:
    """The answer is the provider's own, also where it is an error; the query goes along."""
    http = await gateways.http(await gateways.start())
    raw = await http.get("/v1/models?limit=5")
    assert raw.status_code == 200
    assert raw.json()["data"]
    assert raw.headers["cache-status"] == "cachecore; fwd=bypass"
    raw = await http.delete("/v1/files/f-1")
    assert raw.status_code == 404


async def test_base_address_without_a_version(gateways: Gateways, provider: LocalProvider) -> None:
    http = await gateways.http(await gateways.start())
    for path in ("/chat/completions", "/v1/chat/completions"):
        assert (await http.post(path, json=chat())).status_code == 200
    assert provider.calls == 1


async def test_requests_with_effects_pass_the_cache_by(gateways: Gateways, provider: LocalProvider) -> None:
    client = await gateways.openai(await gateways.start())
    for _ in range(2):
        raw = await client.responses.with_raw_response.create(model="m", input="Hi", background=False, conversation="c")
        assert raw.headers["cache-status"].startswith("cachecore; fwd=bypass; detail=")
    assert provider.calls == 2
