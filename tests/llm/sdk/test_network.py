"""The network under a cached client is that under the SDK's own: proxies, limits, redirects, retries, timeouts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from cachecore_llm.sdk import async_cached_client, cached_client
from cachecore_llm.testing.provider import LocalProvider
from tests.llm.sdk.conftest import messages
from tests.llm.sdk.proxies import https_proxy

WAYS = ["own", "cached"]


@asynccontextmanager
async def over(way: str, provider: LocalProvider, **options: Any) -> AsyncIterator[AsyncOpenAI]:
    """The SDK over its own HTTP client, or over a cached one."""
    http = None if way == "own" else async_cached_client("memory://")
    async with AsyncOpenAI(base_url=provider.openai_url, api_key="k", http_client=http, **options) as client:
        yield client


def asked(client: Any, text: str, **more: Any) -> Any:
    return client.chat.completions.create(model="m", messages=messages(text), **more)


@pytest.mark.parametrize("way", WAYS)
async def test_proxy_of_the_environment(
    way: str, provider: LocalProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests go through the proxy that the environment names, over TLS, but not where it says otherwise."""
    async with https_proxy(tmp_path) as (proxy, authority):
        for name in ("HTTP_PROXY", "http_proxy"):
            monkeypatch.setenv(name, f"https://127.0.0.1:{proxy.port}")
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        async with over(way, provider) as client:
            assert (await asked(client, "Hi")).choices
            stream = await asked(client, "Hello", stream=True)
            assert [chunk async for chunk in stream]
        assert proxy.requests == provider.calls == 2
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        async with over(way, provider) as client:
            assert (await asked(client, "Bye")).choices
        assert proxy.requests == 2


def test_proxy_for_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for threads."""
    loop = asyncio.new_event_loop()
    with LocalProvider() as provider:
        stack = https_proxy(tmp_path)
        proxy, authority = loop.run_until_complete(stack.__aenter__())
        import threading

        serving = threading.Thread(target=loop.run_forever)
        serving.start()
        try:
            monkeypatch.setenv("HTTP_PROXY", f"https://127.0.0.1:{proxy.port}")
            monkeypatch.setenv("http_proxy", f"https://127.0.0.1:{proxy.port}")
            for name in ("NO_PROXY", "no_proxy"):
                monkeypatch.delenv(name, raising=False)
            monkeypatch.setenv("SSL_CERT_FILE", str(authority))
            with cached_client("memory://") as http:
                client = OpenAI(base_url=provider.openai_url, api_key="k", http_client=http)
                assert asked(client, "Hi").choices
            assert proxy.requests == 1
        finally:
            loop.call_soon_threadsafe(loop.stop)
            serving.join()
            loop.run_until_complete(stack.__aexit__(None, None, None))
            loop.close()


@pytest.mark.parametrize("way", WAYS)
async def test_retries_and_their_end(way: str, provider: LocalProvider) -> None:
    """The SDK asks as often as it does over its own client, and raises what it raises there."""
    async with over(way, provider, max_retries=2) as client:
        assert (await asked(client, "[[error 503 times=2 retry-after=0]] Hi")).choices
        assert provider.calls == 3
        with pytest.raises(openai.InternalServerError):
            await asked(client, "[[error 500 retry-after=0]] Hi")
        assert provider.calls == 6
        with pytest.raises(openai.APIConnectionError):
            await asked(client, "[[cut 0]] Hi")
        assert provider.calls == 9


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_timeout(way: str, stream: bool, provider: LocalProvider) -> None:
    """A provider that hangs costs the SDK's timeout, whole and streamed, also in the middle of a stream."""
    async with over(way, provider, max_retries=0, timeout=0.2) as client:
        started = time.monotonic()
        with pytest.raises(openai.APITimeoutError):
            await asked(client, "[[hang 0]] Hi", stream=stream)
        assert time.monotonic() - started >= 0.2
        if stream:
            with pytest.raises((openai.APITimeoutError, httpx2.ReadTimeout, openai.APIConnectionError)):
                [chunk async for chunk in await asked(client, "[[hang 4]] [[words 20]] Hi", stream=True)]


@pytest.mark.parametrize("way", WAYS)
async def test_redirects_are_followed(way: str, provider: LocalProvider) -> None:
    """A provider that has moved is asked at its new place."""

    async def moved(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split(b" ")[1].decode()
        place = f"{provider.url}{path}".encode()
        writer.write(
            b"HTTP/1.1 307 Moved\r\nlocation: " + place + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(moved, "127.0.0.1", 0)
    async with server:
        http = None if way == "own" else async_cached_client("memory://")
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        async with AsyncOpenAI(base_url=url, api_key="k", http_client=http, max_retries=0) as client:
            with pytest.raises(openai.AuthenticationError):  # another host is not given the key
                await asked(client, "Hi")
    assert provider.calls == 1


@pytest.mark.parametrize("way", WAYS)
async def test_as_many_requests_at_once_as_the_sdk_allows(way: str, provider: LocalProvider) -> None:
    """More than the hundred connections that a plain client of the library has."""
    async with over(way, provider) as client:
        provider.hold()
        asking = [asyncio.ensure_future(asked(client, f"question {number}")) for number in range(150)]
        await provider.until(lambda: provider.held == 150, timeout=60)
        provider.release()
        assert all(answer.choices for answer in await asyncio.gather(*asking))
        assert provider.connections <= 150


@pytest.mark.parametrize(
    "make", [lambda: async_cached_client("memory://"), lambda: cached_client("memory://")], ids=["loop", "threads"]
)
def test_settings_are_the_sdks(make: Callable[[], Any]) -> None:
    """Timeout and redirects of the client are those that the SDK's own client has."""
    own = OpenAI(api_key="k")._client
    made = make()
    assert made.timeout == own.timeout
    assert made.follow_redirects == own.follow_redirects
