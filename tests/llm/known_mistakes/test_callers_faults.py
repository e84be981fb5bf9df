"""A mistake of the caller reaches it as the provider said it, through every face, with any answer in the cache.

And a cache that is switched off gives out no stored answer and no other caller's.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace

import anthropic
import openai
import pytest

from cachecore import bypass
from cachecore.store.memory_backend import MemoryBackend
from cachecore.testing.clocks import FakeClock
from cachecore_llm import CacheConfig, ResponseCache
from cachecore_llm.testing.provider import LocalProvider
from tests.llm.known_mistakes.faces import ALL, Face, Request, streamed, text_of

ERRORS: dict[int, tuple[type[Exception], type[Exception]]] = {
    400: (openai.BadRequestError, anthropic.BadRequestError),
    401: (openai.AuthenticationError, anthropic.AuthenticationError),
    404: (openai.NotFoundError, anthropic.NotFoundError),
    422: (openai.UnprocessableEntityError, anthropic.UnprocessableEntityError),
}


@pytest.mark.parametrize("name", ALL)
async def test_a_mistake_is_never_covered_by_an_old_or_a_similar_answer(name: str, provider: LocalProvider) -> None:
    """With a stale answer to the very request, and one to a question much like it. An outage is covered by both."""
    clock = FakeClock()
    config = CacheConfig(ttl_seconds=10, stale_if_error=1000)
    async with (
        ResponseCache(MemoryBackend(clock=clock), config, clock=clock, jitter=0) as cache,
        AsyncExitStack() as stack,
    ):
        face = await ALL[name](provider, cache, stack)
        request = Request(text="How long does it take to deliver my order to Bonn?")
        answer = await text_of(face, request)
        clock.advance(20)
        for asked in (request, replace(request, text=request.text + "!")):
            for status, expected in ERRORS.items():
                for ask in (face.whole, lambda one: streamed(face, one)):
                    provider.queue(f"[[error {status}]]")
                    with pytest.raises(expected) as raised:
                        await ask(asked)
                    assert raised.value.status_code == status  # type: ignore[attr-defined]  # both SDKs' have one
        provider.queue("[[error 503]]")
        assert await text_of(face, request) == answer


@pytest.mark.parametrize("name", ALL)
async def test_a_switch_in_the_environment_turns_every_face_off(
    name: str, provider: LocalProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`CACHECORE_OFF=1` where the cache is built: each question is asked, whole and streamed, and nothing is kept."""
    monkeypatch.setenv("CACHECORE_OFF", "1")
    async with ResponseCache("memory://") as cache, AsyncExitStack() as stack:
        face = await ALL[name](provider, cache, stack)
        for _ in range(2):
            await face.whole(Request())
            await streamed(face, Request())
        assert provider.calls == 4
        assert cache.metrics.stored == 0


async def test_a_bypass_block_turns_a_face_off(face: Face, provider: LocalProvider) -> None:
    """Inside `bypass()` the provider is asked although the answer is stored; behind it the stored one counts again."""
    await face.whole(Request())
    with bypass():
        await face.whole(Request())
        await streamed(face, Request())
    assert provider.calls == 3
    await face.whole(Request())
    assert provider.calls == 3
