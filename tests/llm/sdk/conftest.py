"""A provider of its own for each test, and the SDKs' clients over cached ones."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack
from typing import Any

import pytest
from anthropic import Anthropic, AsyncAnthropic
from openai import AsyncOpenAI, OpenAI

from cachecore_llm import ResponseCache
from cachecore_llm.sdk import async_cached_client, cached_client
from cachecore_llm.testing.provider import LocalProvider

PATIENT: dict[str, Any] = {"backend_timeout": 20}  # a loaded machine is not what is tested here


@pytest.fixture
async def provider() -> AsyncIterator[LocalProvider]:
    async with LocalProvider() as running:
        yield running


@pytest.fixture
async def answers() -> AsyncIterator[ResponseCache]:
    async with ResponseCache("memory://", **PATIENT) as made:
        yield made


class Clients:
    """Makes the SDKs' asynchronous clients, each over a cached client of its own."""

    def __init__(self, provider: LocalProvider, answers: ResponseCache, stack: AsyncExitStack) -> None:
        self.provider, self._answers, self._stack = provider, answers, stack

    async def openai(self, key: str = "k-1", *, retries: int = 0, timeout: Any = None, **options: Any) -> AsyncOpenAI:
        http = async_cached_client(options.pop("store", self._answers), **options)
        more = {} if timeout is None else {"timeout": timeout}
        client = AsyncOpenAI(
            base_url=self.provider.openai_url, api_key=key, http_client=http, max_retries=retries, **more
        )
        return await self._stack.enter_async_context(client)

    async def anthropic(self, key: str = "k-1", **options: Any) -> AsyncAnthropic:
        http = async_cached_client(self._answers, **options)
        client = AsyncAnthropic(base_url=self.provider.url, api_key=key, http_client=http, max_retries=0)
        return await self._stack.enter_async_context(client)


@pytest.fixture
async def clients(provider: LocalProvider, answers: ResponseCache) -> AsyncIterator[Clients]:
    async with AsyncExitStack() as stack:
        yield Clients(provider, answers, stack)


@pytest.fixture
def threaded() -> Iterator[tuple[LocalProvider, OpenAI, Anthropic]]:
    """A provider, and clients of both SDKs for threads that share one cached client."""
    with ExitStack() as stack:
        provider = stack.enter_context(LocalProvider())
        http = stack.enter_context(cached_client("memory://"))
        openai = OpenAI(base_url=provider.openai_url, api_key="k", http_client=http, max_retries=0)
        yield provider, openai, Anthropic(base_url=provider.url, api_key="k", http_client=http, max_retries=0)


def messages(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


async def text_of(stream: Any) -> str:
    """The text of a streamed chat."""
    return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
