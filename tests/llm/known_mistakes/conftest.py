"""A provider and a cache for each test, in time that a test moves, and one face at a time in front of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from cachecore.store.memory_backend import MemoryBackend
from cachecore.testing.clocks import FakeClock
from cachecore_llm import CacheConfig, ResponseCache
from cachecore_llm.testing.provider import LocalProvider
from tests.llm.known_mistakes.faces import ALL, LIVE, Face


@pytest.fixture
async def provider() -> AsyncIterator[LocalProvider]:
    async with LocalProvider() as running:
        yield running


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def answers(clock: FakeClock) -> AsyncIterator[ResponseCache]:
    config = CacheConfig(ttl_seconds=100, stale_if_error=0, similar=False)
    async with ResponseCache(MemoryBackend(clock=clock), config, clock=clock, jitter=0) as made:
        yield made


@pytest.fixture(params=ALL)
async def face(request: pytest.FixtureRequest, provider: LocalProvider, answers: ResponseCache) -> AsyncIterator[Face]:
    async with AsyncExitStack() as stack:
        yield await ALL[request.param](provider, answers, stack)


@pytest.fixture(params=LIVE)
async def live(request: pytest.FixtureRequest, provider: LocalProvider, answers: ResponseCache) -> AsyncIterator[Face]:
    async with AsyncExitStack() as stack:
        yield await LIVE[request.param](provider, answers, stack)
