"""A provider of its own for each test, and the clients of both SDKs that talk to it."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator

import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from cachecore_llm.testing.provider import LocalProvider

CREATED = 1_800_000_000


class Counted:
    """Entropy that can be told to begin again, so that two calls get the same ids."""

    def __init__(self) -> None:
        self.restart()

    def __call__(self) -> str:
        return str(next(self._numbers))

    def restart(self) -> None:
        self._numbers = itertools.count()


@pytest.fixture
def entropy() -> Counted:
    return Counted()


@pytest.fixture
async def provider(entropy: Counted) -> AsyncIterator[LocalProvider]:
    async with LocalProvider(entropy=entropy, clock=lambda: float(CREATED)) as running:
        yield running


@pytest.fixture
async def openai(provider: LocalProvider) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=provider.openai_url, api_key="key", max_retries=0) as client:
        yield client


@pytest.fixture
async def anthropic(provider: LocalProvider) -> AsyncIterator[AsyncAnthropic]:
    async with AsyncAnthropic(base_url=provider.url, api_key="key", max_retries=0) as client:
        yield client
