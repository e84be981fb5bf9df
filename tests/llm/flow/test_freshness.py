"""How fresh a stored answer must be for a call that says so: `max_stale`, `min_fresh`; and answers made alone."""

from __future__ import annotations

import pytest

from cachecore.testing.clocks import FakeClock
from cachecore_llm import Controls, NotCachedError, ResponseCache
from cachecore_llm.flow import Answer
from cachecore_llm.policy.controls import DEFAULT
from cachecore_llm.upstream import Sent
from cachecore_llm.wire import Call
from tests.llm.flow.scripted import Scripted, caching, chat, completion


class Plain:
    """The flow over one provider."""

    def __init__(self, cache: ResponseCache, provider: Scripted) -> None:
        self._flow, self._provider = cache.flow, provider

    async def send(self, call: Call) -> Sent:
        return Sent(body=await self._provider.send(call), provider="p", fallback=False, latency=0.0)

    async def answer(self, call: Call, controls: Controls = DEFAULT) -> Answer:
        return await self._flow.answer(call, self.send, controls)


async def test_max_stale_takes_an_answer_past_its_ttl_without_asking() -> None:
    """Only as stale as the call takes it, and as old; a fresh one is a hit; nothing is refreshed behind."""
    clock, provider = FakeClock(), Scripted()
    async with caching(clock) as cache:
        service = Plain(cache, provider)
        await service.answer(chat())
        assert (await service.answer(chat(), Controls(max_stale=5))).status == "hit"
        clock.advance(14)
        found = await service.answer(chat(), Controls(max_stale=5))
        assert (found.status, found.rescued) == ("stale", False)
        assert found.fresh_for == pytest.approx(-4, abs=0.1)
        stream = cache.flow.stream(chat(), provider.stream, Controls(max_stale=5))
        assert [event async for event in stream]
        assert stream.status == "stale"
        assert len(provider.calls) == 1
        with pytest.raises(NotCachedError, match="not fresh enough"):
            await service.answer(chat(), Controls(max_stale=3, only_if_cached=True))
        with pytest.raises(NotCachedError):
            await service.answer(chat(), Controls(max_stale=5, max_age=13, only_if_cached=True))
        assert (await service.answer(chat(), Controls(max_stale=3))).status == "miss"


async def test_min_fresh_makes_an_answer_anew_that_would_soon_be_stale() -> None:
    clock, provider = FakeClock(), Scripted()
    async with caching(clock) as cache:
        service = Plain(cache, provider)
        await service.answer(chat())
        clock.advance(4)
        assert (await service.answer(chat(), Controls(min_fresh=5))).status == "hit"
        with pytest.raises(NotCachedError):
            await service.answer(chat(), Controls(min_fresh=7, only_if_cached=True))
        assert (await service.answer(chat(), Controls(min_fresh=7))).status == "miss"
        assert (await service.answer(chat(), Controls(min_fresh=9))).status == "hit"
        assert len(provider.calls) == 2


async def test_an_answer_made_alone_takes_nothing_and_is_kept() -> None:
    """It is not the stored one and joins none; the next caller gets it; a call for a stored answer gets none."""
    provider = Scripted(completion("first"), completion("second"))
    async with caching() as cache:
        service, call = Plain(cache, provider), chat()
        await service.answer(call)
        alone = await cache.flow.alone(call, service.send)
        assert (alone.status, alone.stored_now, alone.body()) == ("miss", True, completion("second"))
        assert (await service.answer(call)).body() == completion("second")
        assert len(provider.calls) == 2
        with pytest.raises(NotCachedError):
            await cache.flow.alone(call, service.send, Controls(only_if_cached=True))
