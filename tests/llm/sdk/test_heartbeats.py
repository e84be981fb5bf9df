"""Heartbeats under the real SDKs: comment lines on the wire, which no SDK shows and which promise no success."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anthropic
import httpx2
import openai
import pytest

from cachecore import OptionsError
from cachecore_llm import ResponseCache
from cachecore_llm.sdk import async_cached_client, async_cached_transport, cached_transport
from cachecore_llm.testing.provider import LocalProvider
from tests.llm.sdk.conftest import messages

COMMENT = b": cachecore\n\n"
EVERY = 0.02
PROTOCOLS = ["chat", "responses", "messages"]


class Bytes(httpx2.AsyncByteStream, httpx2.SyncByteStream):
    """A body that shows its chunks to `seen` as they pass."""

    def __init__(self, inner: Any, seen: Callable[[bytes], None]) -> None:
        self._inner, self._seen = inner, seen

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._inner:
            self._seen(chunk)
            yield chunk

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._inner:
            self._seen(chunk)
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()

    def close(self) -> None:
        self._inner.close()


class Watched(httpx2.AsyncBaseTransport, httpx2.BaseTransport):
    """A transport that counts the heartbeats which reach the SDK above it, and calls `after` at the third."""

    def __init__(self, inner: Any, after: Callable[[], None]) -> None:
        self._inner, self._after = inner, after
        self.beats = 0
        self.headers: Any = None

    def _seen(self, chunk: bytes) -> None:
        if chunk == COMMENT:
            self.beats += 1
            if self.beats == 3:
                self._after()

    def _shown(self, response: Any) -> Any:
        self.headers = response.headers
        body = Bytes(response.stream, self._seen)
        return httpx2.Response(response.status_code, headers=response.headers, stream=body)

    async def handle_async_request(self, request: Any) -> Any:
        return self._shown(await self._inner.handle_async_request(request))

    def handle_request(self, request: Any) -> Any:
        return self._shown(self._inner.handle_request(request))

    async def aclose(self) -> None:
        await self._inner.aclose()

    def close(self) -> None:
        self._inner.close()


async def said(http: httpx2.AsyncClient, provider: LocalProvider, protocol: str, prompt: str = "Tell me") -> str:
    """The text of a stream, read by the protocol's own SDK."""
    if protocol == "messages":
        claude = anthropic.AsyncAnthropic(base_url=provider.url, api_key="k", http_client=http, max_retries=0)
        async with claude.messages.stream(model="m", max_tokens=99, messages=messages(prompt)) as stream:
            return "".join([text async for text in stream.text_stream])
    client = openai.AsyncOpenAI(base_url=provider.openai_url, api_key="k", http_client=http, max_retries=0)
    if protocol == "chat":
        chunks = await client.chat.completions.create(model="m", messages=messages(prompt), stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks if chunk.choices])
    async with client.responses.stream(model="m", input=prompt) as events:
        return "".join([event.delta async for event in events if event.type == "response.output_text.delta"])


def said_in_thread(http: httpx2.Client, provider: LocalProvider, protocol: str, prompt: str = "Tell me") -> str:
    """The same with the SDKs for threads."""
    if protocol == "messages":
        claude = anthropic.Anthropic(base_url=provider.url, api_key="k", http_client=http, max_retries=0)
        with claude.messages.stream(model="m", max_tokens=99, messages=messages(prompt)) as stream:
            return "".join(stream.text_stream)
    client = openai.OpenAI(base_url=provider.openai_url, api_key="k", http_client=http, max_retries=0)
    if protocol == "chat":
        chunks = client.chat.completions.create(model="m", messages=messages(prompt), stream=True)
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    with client.responses.stream(model="m", input=prompt) as events:
        return "".join(event.delta for event in events if event.type == "response.output_text.delta")


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("after", [0, 2])
async def test_sdks_ignore_the_heartbeats(
    provider: LocalProvider, answers: ResponseCache, protocol: str, after: int
) -> None:
    """One that joined before the first event gets them at once, each caller between events; both read the same text."""
    provider.hold(after=after)
    joined = Watched(async_cached_transport(answers, heartbeat=EVERY), provider.release)
    plain = Watched(async_cached_transport(answers, heartbeat=None), provider.release)
    async with httpx2.AsyncClient(transport=plain) as one, httpx2.AsyncClient(transport=joined) as other:
        first = asyncio.create_task(said(one, provider, protocol))
        await provider.until(lambda: provider.held == 1)
        assert await said(other, provider, protocol) == await first != ""
    assert (provider.calls, plain.beats) == (1, 0)
    assert joined.beats >= 3
    assert "collapsed" in joined.headers["cache-status"]
    assert joined.headers["content-type"].startswith("text/event-stream")


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_the_first_caller_gets_them_too(provider: LocalProvider, answers: ResponseCache, protocol: str) -> None:
    provider.hold(after=2)
    watched = Watched(async_cached_transport(answers, heartbeat=EVERY), provider.release)
    async with httpx2.AsyncClient(transport=watched) as http:
        assert await said(http, provider, protocol) != ""
        assert watched.beats >= 3
        watched.beats = 0
        assert await said(http, provider, protocol) != ""
        assert (watched.beats, provider.calls) == (0, 1)  # a hit waits for nothing


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_sdks_for_threads_ignore_them(protocol: str) -> None:
    with LocalProvider() as provider:
        provider.hold(after=2)
        watched = Watched(cached_transport("memory://", heartbeat=EVERY), provider.release)
        with httpx2.Client(transport=watched) as http, ThreadPoolExecutor(1) as pool:
            begun = threading.Event()

            def other() -> str:
                begun.set()
                return said_in_thread(http, provider, protocol)

            beside = pool.submit(other)
            begun.wait(60)
            assert said_in_thread(http, provider, protocol) == beside.result(60) != ""
        assert provider.calls == 1
        assert watched.beats >= 3


async def test_no_success_is_promised_before_the_provider_answered(
    provider: LocalProvider, answers: ResponseCache
) -> None:
    """The caller that asked gets the provider's error as it is, however long that took, and its SDK may ask again."""
    provider.hold()
    joined = Watched(async_cached_transport(answers, heartbeat=0.3), provider.release)
    asking = Watched(async_cached_transport(answers, heartbeat=0.5), provider.release)  # not before it has asked
    prompt = "[[error 503]] Tell me"
    async with httpx2.AsyncClient(transport=asking) as one, httpx2.AsyncClient(transport=joined) as other:
        first = asyncio.create_task(said(one, provider, "chat", prompt))
        await provider.until(lambda: provider.held == 1)
        with pytest.raises(openai.APIError) as told:
            await said(other, provider, "chat", prompt)
        assert not isinstance(told.value, openai.APIStatusError)  # the response had begun: an error event
        with pytest.raises(openai.InternalServerError) as raised:
            await first
    assert told.value.message in str(raised.value)
    assert (asking.beats, provider.calls) == (0, 1)
    assert joined.beats >= 3


async def test_an_error_event_of_anthropic_is_raised_by_its_sdk(
    provider: LocalProvider, answers: ResponseCache
) -> None:
    provider.hold()
    joined = Watched(async_cached_transport(answers, heartbeat=EVERY), provider.release)
    prompt = "[[error 529]] Tell me"
    async with (
        httpx2.AsyncClient(transport=async_cached_transport(answers)) as one,
        httpx2.AsyncClient(transport=joined) as other,
    ):
        first = asyncio.create_task(said(one, provider, "messages", prompt))
        await provider.until(lambda: provider.held == 1)
        with pytest.raises(anthropic.APIStatusError, match="overloaded_error"):
            await said(other, provider, "messages", prompt)
        with pytest.raises(anthropic.APIStatusError):
            await first


async def test_a_heartbeat_does_not_move_the_read_timeout(provider: LocalProvider, answers: ResponseCache) -> None:
    """The caller's own wait for an event is bounded as without heartbeats, and the stream goes on for the other."""
    provider.hold()
    watched = Watched(async_cached_transport(answers, heartbeat=EVERY), lambda: None)
    async with (
        httpx2.AsyncClient(transport=async_cached_transport(answers)) as one,
        httpx2.AsyncClient(transport=watched, timeout=httpx2.Timeout(60, read=0.5)) as other,
    ):
        first = asyncio.create_task(said(one, provider, "chat"))
        await provider.until(lambda: provider.held == 1)
        request = other.build_request(
            "POST",
            f"{provider.openai_url}/chat/completions",
            headers={"authorization": "Bearer k"},
            json={"model": "m", "messages": messages("Tell me"), "stream": True},
        )
        response = await other.send(request, stream=True)
        with pytest.raises(httpx2.ReadTimeout, match="took too long"):
            await response.aread()
        await response.aclose()
        provider.release()
        assert await first != ""
    assert watched.beats >= 1  # it would have moved the timeout


async def test_a_response_that_is_never_read_leaves_the_stream(provider: LocalProvider, answers: ResponseCache) -> None:
    provider.hold(after=2)
    async with async_cached_client(answers) as http:
        client = openai.AsyncOpenAI(base_url=provider.openai_url, api_key="k", http_client=http, max_retries=0)
        stream = await client.chat.completions.create(model="m", messages=messages("Tell me"), stream=True)
        await provider.until(lambda: provider.held == 1)
        await stream.close()
        await provider.until(lambda: provider.held == 0)


@pytest.mark.parametrize("wrong", [0, -1, float("nan"), "soon"])
def test_a_wrong_interval_is_refused(wrong: Any) -> None:
    with pytest.raises(OptionsError, match="heartbeat"):
        async_cached_client("memory://", heartbeat=wrong)
