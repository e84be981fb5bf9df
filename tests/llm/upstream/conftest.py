"""A local provider over HTTP for each test, and calls to it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from cachecore_llm import AnthropicProvider, OpenAIProvider
from cachecore_llm.testing.provider import LocalProvider


@pytest.fixture
async def server() -> AsyncIterator[LocalProvider]:
    async with LocalProvider() as running:
        yield running


@pytest.fixture
async def openai(server: LocalProvider) -> AsyncIterator[OpenAIProvider]:
    async with OpenAIProvider("gpt-local", base_url=server.openai_url, api_key="sk-test", max_retries=0) as made:
        yield made


@pytest.fixture
async def anthropic(server: LocalProvider) -> AsyncIterator[AnthropicProvider]:
    async with AnthropicProvider("claude-local", base_url=server.url, api_key="sk-test", max_retries=0) as made:
        yield made
