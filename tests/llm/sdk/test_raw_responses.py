"""Headers and facts of a provider's answer, as an SDK sees them beside those of its own client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from cachecore_llm.sdk import async_cached_client, cached_client
from cachecore_llm.testing.recorded import RecordedAnswers
from tests.llm.sdk.conftest import Clients, messages, text_of

NAME = "Zoë GmbH"
"""A name of an organisation, which gateways put into headers in UTF-8."""
REQUEST_ID = "ë-1"
SENT = [
    (b"OpenAI-Organization", NAME.encode()),
    (b"X-Request-Id", REQUEST_ID.encode()),
    (b"Set-Cookie", b"a=1"),
    (b"Set-Cookie", b"b=2"),
]
ANSWER = {
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hello"}}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}
CHUNKS = [
    {**ANSWER, "object": "chat.completion.chunk", "usage": None, "choices": [choice]}
    for choice in (
        {"index": 0, "delta": {"role": "assistant", "content": "Hello"}, "finish_reason": None},
        {"index": 0, "delta": {}, "finish_reason": "stop"},
    )
]


class Events(httpx2.AsyncByteStream, httpx2.SyncByteStream):
    """A body of events, for clients of both kinds."""

    def __iter__(self) -> Any:
        for chunk in CHUNKS:
            yield f"data: {json.dumps(chunk)}\n\n".encode()
        yield b"data: [DONE]\n\n"

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self:
            yield part


class Gateway(httpx2.AsyncBaseTransport, httpx2.BaseTransport):
    """Answers with headers that are not ASCII: whole, streamed, or with an error."""

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.read())
        if body["messages"][0]["content"] == "fail":
            return httpx2.Response(418, headers=SENT, json={"error": {"message": "no tea"}})
        if body.get("stream"):
            return httpx2.Response(200, headers=[*SENT, (b"content-type", b"text/event-stream")], stream=Events())
        extensions = {"http_version": b"HTTP/2"}
        return httpx2.Response(200, headers=SENT, json=ANSWER, extensions=extensions)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        return self.handle_request(request)


async def asked(store: str | None, text: str, **more: Any) -> Any:
    """The raw answer over the plain client, or over a cached one with that store."""
    transport = Gateway()
    http = httpx2.AsyncClient(transport=transport) if store is None else async_cached_client(store, transport=transport)
    async with AsyncOpenAI(base_url="https://api.test/v1", api_key="k", http_client=http, max_retries=0) as client:
        return await client.chat.completions.with_raw_response.create(model="m", messages=messages(text), **more)


@pytest.mark.parametrize("store", [None, "memory://"])
async def test_headers_that_are_not_ascii_reach_the_caller(store: str | None) -> None:
    """Whole, streamed and with an error, over the SDK's own client and over a cached one alike."""
    whole = await asked(store, "Hi")
    assert whole.headers["openai-organization"] == NAME
    assert whole.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert int(whole.headers["content-length"]) == len(whole.content)
    assert whole.http_response.http_version == "HTTP/2"
    streamed = await asked(store, "Hi stream", stream=True)
    assert streamed.headers["openai-organization"] == NAME
    assert streamed.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert await text_of(streamed.parse()) == "Hello"
    with pytest.raises(openai.APIStatusError) as failed:
        await asked(store, "fail")
    assert failed.value.status_code == 418
    assert failed.value.response.headers["openai-organization"] == NAME


def test_headers_that_are_not_ascii_reach_the_caller_while_recording(tmp_path: Path) -> None:
    """And those that are kept come back: what is not ASCII is no error."""
    for mode in ("record", "replay"):
        answers = RecordedAnswers(tmp_path / "answers.json", mode)
        http = answers.client(transport=Gateway())
        client = OpenAI(base_url="https://api.test/v1", api_key="k", http_client=http, max_retries=0)
        raw = client.chat.completions.with_raw_response
        whole = raw.create(model="m", messages=messages("Hi"))
        streamed = raw.create(model="m", messages=messages("Hi stream"), stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in streamed.parse()) == "Hello"
        assert whole.headers["x-request-id"] == streamed.headers["x-request-id"] == REQUEST_ID
        answers.close()


def test_headers_that_are_not_ascii_reach_threads() -> None:
    """As above, on the way through a thread of their own."""
    http = cached_client("memory://", transport=Gateway())
    with OpenAI(base_url="https://api.test/v1", api_key="k", http_client=http, max_retries=0) as client:
        raw = client.chat.completions.with_raw_response
        whole = raw.create(model="m", messages=messages("Hi"))
        streamed = raw.create(model="m", messages=messages("Hi stream"), stream=True)
        assert whole.headers["openai-organization"] == streamed.headers["openai-organization"] == NAME
        assert whole.http_response.http_version == "HTTP/2"
        assert "".join(chunk.choices[0].delta.content or "" for chunk in streamed.parse()) == "Hello"
        with pytest.raises(openai.APIStatusError) as failed:
            raw.create(model="m", messages=messages("fail"))
        assert failed.value.response.headers["openai-organization"] == NAME


async def test_one_embedding_is_told_as_shared(clients: Clients) -> None:
    """A single input has what a whole answer has: callers that share one request are told so."""
    client = await clients.openai()

    async def asked_for(text: str, **more: Any) -> Any:
        return await client.embeddings.with_raw_response.create(model="e", input=text, **more)

    clients.provider.hold()
    both = [asyncio.create_task(asked_for("shared")) for _ in range(2)]
    await clients.provider.until(lambda: clients.provider.held == 1)
    clients.provider.release()
    told = sorted([(await one).headers["cache-status"] for one in both])
    assert clients.provider.calls == 1
    assert told[0].startswith("cachecore; fwd=miss; collapsed; key=")
    assert told[1] == "cachecore; fwd=miss; stored"


async def test_raw_responses_tell_how_long_they_took(clients: Clients) -> None:
    """As those of the SDK's own client do: of the provider's answer and of one from the cache, whole and embedded."""
    client = await clients.openai()
    for _ in range(2):
        whole = await client.chat.completions.with_raw_response.create(model="m", messages=messages("Hi"))
        vector = await client.embeddings.with_raw_response.create(model="e", input="a")
        assert 0 < whole.elapsed.total_seconds() < 60
        assert 0 < vector.elapsed.total_seconds() < 60
    with pytest.raises(openai.APIStatusError) as failed:
        await client.chat.completions.create(model="m", messages=messages("[[error 418]] Hi"))
    assert failed.value.response.elapsed.total_seconds() > 0
