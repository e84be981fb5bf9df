"""A provider and a gateway of its own for each test, on real sockets, and SDKs that know only its address."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx2
import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from cachecore_llm.testing.provider import LocalProvider
from cachecore_proxy.server import Running, serving
from cachecore_proxy.settings import Settings, UpstreamSettings

PATIENT: dict[str, Any] = {"backend_timeout": 20}  # a loaded machine is not what is tested here
NO_END = 60.0
"""Seconds that nothing here takes: a bound on what would hang."""


@pytest.fixture
async def provider() -> AsyncIterator[LocalProvider]:
    async with LocalProvider() as running:
        yield running


class Gateways:
    """Starts gateways, and clients of them."""

    def __init__(self, provider: LocalProvider, stack: AsyncExitStack) -> None:
        self.provider, self._stack = provider, stack

    async def start(self, **given: Any) -> Running:
        """Start a gateway on a free port; without `upstreams`, in front of the local provider."""
        upstreams = given.pop("upstreams", None) or (self.upstream(),)
        settings = {"store": "memory://", "port": 0, "store_options": PATIENT, "access_log": False, **given}
        return await self._stack.enter_async_context(serving(Settings(upstreams=tuple(upstreams), **settings)))

    def upstream(self, name: str = "local", url: str | None = None, **given: Any) -> UpstreamSettings:
        """Return settings of an upstream; without an address, of the local provider."""
        return UpstreamSettings(name=name, url=url or self.provider.url, **given)

    async def openai(self, running: Running, key: str = "k-1", **given: Any) -> AsyncOpenAI:
        """Return a client of the SDK that knows the address of the gateway and nothing else of it."""
        client = AsyncOpenAI(
            base_url=f"{running.url}/v1", api_key=key, **{"max_retries": 0, "timeout": NO_END, **given}
        )
        return await self._stack.enter_async_context(client)

    async def anthropic(self, running: Running, key: str = "k-1") -> AsyncAnthropic:
        client = AsyncAnthropic(base_url=running.url, api_key=key, max_retries=0, timeout=NO_END)
        return await self._stack.enter_async_context(client)

    async def http(self, running: Running, key: str | None = "k-1") -> httpx2.AsyncClient:
        """Return a client for requests written by hand."""
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        client = httpx2.AsyncClient(base_url=running.url, headers=headers, timeout=NO_END)
        return await self._stack.enter_async_context(client)


@pytest.fixture
async def gateways(provider: LocalProvider) -> AsyncIterator[Gateways]:
    async with AsyncExitStack() as stack:
        yield Gateways(provider, stack)


async def until(holds: Callable[[], bool]) -> None:
    """Return when `holds` does, which nothing tells."""
    async with asyncio.timeout(NO_END):
        while not holds():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)


def messages(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def chat(text: str = "Hi", **more: Any) -> dict[str, Any]:
    """Return the body of a chat of one turn."""
    return {"model": "m", "messages": messages(text), **more}


async def text_of(stream: Any) -> str:
    """Return the text of a streamed chat."""
    return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])


Ask = Callable[..., Awaitable[Any]]
