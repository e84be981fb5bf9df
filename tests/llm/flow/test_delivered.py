"""An answer is given to the caller that asked as soon as it is judged: storing it comes behind, where that may be."""

from __future__ import annotations

from cachecore.testing.clocks import FakeClock
from cachecore_llm import Controls, ResponseCache
from cachecore_llm.policy.controls import DEFAULT
from cachecore_llm.upstream import Sent
from cachecore_llm.wire import Call
from tests.llm.flow.scripted import Scripted, caching, chat, completion


class Early:
    """Calls whose answers can be given early, and what was."""

    def __init__(self, cache: ResponseCache, provider: Scripted) -> None:
        self._cache, self._provider = cache, provider
        self.given: list[tuple[str, bool, int]] = []
        """Key, whether it is fit to be stored, and how many answers had been stored by then."""

    async def deliver(self, key: str, kept: bool) -> None:
        self.given.append((key, kept, self._cache.metrics.stored))

    async def send(self, call: Call) -> Sent:
        body = await self._provider.send(call)
        return Sent(body=body, provider="p", fallback=False, latency=0.0, deliver=self.deliver)

    async def ask(self, call: Call, controls: Controls = DEFAULT) -> tuple[str, bool]:
        """Return the key of the answer, and whether it is stored."""
        answer = await self._cache.flow.answer(call, self.send, controls)
        return answer.key, answer.stored_now


async def test_miss_is_given_before_it_is_stored() -> None:
    """With the key and the verdict that the answer itself has; a hit is given by no one but the flow."""
    async with caching() as cache:
        early = Early(cache, Scripted())
        key, stored = await early.ask(chat())
        assert early.given == [(key, True, 0)]
        assert (stored, cache.metrics.stored) == (True, 1)
        await early.ask(chat())
        assert len(early.given) == 1


async def test_unfit_answer_is_given_as_such() -> None:
    """Where nothing is to be stored at all there is nothing to wait for, and the flow gives it."""
    async with caching() as cache:
        early = Early(cache, Scripted(completion("cut", "length"), completion()))
        key, stored = await early.ask(chat())
        assert (early.given, stored) == ([(key, False, 0)], False)
        await early.ask(chat(), Controls(no_store=True))
        assert len(early.given) == 1
        assert cache.metrics.stored == 0


async def test_answer_over_an_older_one_is_stored_first() -> None:
    """Another process may still read the older one; and a caller that asked for a new one is told when it is there."""
    clock = FakeClock()
    async with caching(clock) as cache:
        early = Early(cache, Scripted())
        await early.ask(chat())
        early.given.clear()
        await early.ask(chat(), Controls(refresh=True))
        clock.advance(15)
        await early.ask(chat())
        assert cache.metrics.stored == 3
        assert early.given == []
