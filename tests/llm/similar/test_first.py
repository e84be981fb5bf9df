"""Similar answers before a provider is asked, where that is switched on, and the shadow check."""

from __future__ import annotations

import asyncio
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any

import pytest

from cachecore import OptionsError, bypass
from cachecore.store.memory_backend import MemoryBackend
from cachecore.testing.clocks import FakeClock
from cachecore_llm import AllProvidersFailedError, CacheConfig, Controls, LLMResponse, LLMService, Prompt, ResponseCache
from cachecore_llm.flow import first
from cachecore_llm.similar.index import GramIndex
from cachecore_llm.similar.protocol import Match
from cachecore_llm.similar.shadow import ShadowCheck
from tests.llm.flow.scripted import Scripted, completion

KNOWN, ASKED = "How do I order a card?", "How can I order the card?"


class Bank:
    """A service whose provider gives each call another answer."""

    def __init__(self, **config: Any) -> None:
        self.clock = FakeClock()
        self.provider = Scripted(*(completion(f"Answer {number}.") for number in range(50)))
        cache = ResponseCache(MemoryBackend(clock=self.clock), CacheConfig(**config), clock=self.clock)
        self.service = LLMService(self.provider, cache)

    async def ask(self, question: str, prompt: str | Prompt = "Bank.", **more: Any) -> str:
        """Return how the answer came."""
        found: LLMResponse = await self.service.generate(prompt, question, model="m", **more)
        return found.cache_status


async def test_it_is_off_unless_switched_on() -> None:
    bank = Bank()
    assert [await bank.ask(KNOWN), await bank.ask(ASKED)] == ["miss", "miss"]


async def test_switched_on_for_all_calls() -> None:
    bank = Bank(similar_first=True)
    assert [await bank.ask(KNOWN), await bank.ask(ASKED), await bank.ask(KNOWN)] == ["miss", "similar", "hit"]
    found = await bank.service.generate("Bank.", ASKED, model="m")
    assert (found.content, found.matched_message) == ("Answer 0.", KNOWN)
    assert len(bank.provider.calls) == 1


async def test_switched_on_for_one_call_and_off_for_one() -> None:
    bank = Bank()
    await bank.ask(KNOWN)
    assert await bank.ask(ASKED, cache=Controls(similar=True)) == "similar"
    on = Bank(similar_first=True)
    await on.ask(KNOWN)
    assert await on.ask(ASKED, cache=Controls(similar=False)) == "miss"


async def test_similar_false_forbids_the_last_rung_too() -> None:
    bank = Bank()
    await bank.ask(KNOWN)
    bank.provider.bodies = [ConnectionError("down")]
    with pytest.raises(AllProvidersFailedError):
        await bank.ask(ASKED, cache=Controls(similar=False))
    assert await bank.ask(ASKED) == "similar"


async def test_switched_on_for_a_prompt() -> None:
    bank = Bank(similar_first={"faq"})
    faq, other = Prompt("faq", "Bank."), Prompt("chat", "Bank.")
    assert [await bank.ask(KNOWN, faq), await bank.ask(ASKED, faq)] == ["miss", "similar"]
    assert [await bank.ask(KNOWN, other), await bank.ask(ASKED, other)] == ["miss", "miss"]


async def test_it_has_a_ttl_of_its_own() -> None:
    """Past `similar_ttl` the provider is asked, though the exact answer is still fresh."""
    bank = Bank(similar_first=True, similar_ttl="10m", ttl_seconds="1h")
    await bank.ask(KNOWN)
    bank.clock.advance(601)
    assert [await bank.ask(KNOWN), await bank.ask(ASKED)] == ["hit", "miss"]


async def test_an_answer_of_its_own_comes_first_and_nothing_is_stored_again() -> None:
    bank = Bank(similar_first=True)
    await bank.ask(KNOWN)
    await bank.ask(ASKED)
    assert bank.service.cache.metrics.stored == 1
    assert await bank.ask(ASKED, cache=Controls(refresh=True)) == "miss"
    assert await bank.ask(ASKED) == "hit"


async def test_bypass_passes_it_by_and_forgets_nothing() -> None:
    bank = Bank(similar_first=True)
    await bank.ask(KNOWN)
    with bypass():
        assert await bank.ask(ASKED) == "bypass"
    assert await bank.ask(ASKED) == "similar"


async def test_a_stream_is_answered_so_as_well() -> None:
    bank = Bank(similar_first=True)
    await bank.ask(KNOWN)
    stream = bank.service.stream("Bank.", ASKED, model="m")
    assert "".join([piece async for piece in stream]) == "Answer 0."
    assert (await stream.response()).cache_status == "similar"
    assert len(bank.provider.calls) == 1


async def checked(bank: Bank, shadow: ShadowCheck, question: str) -> str:
    """Ask, and wait for the comparison behind it."""
    status = await bank.ask(question)
    while first.RUNNING:
        await asyncio.wait(set(first.RUNNING))
    return status


async def test_the_shadow_compares_with_the_providers_own_answer() -> None:
    seen: list[tuple[str, str, str, str]] = []

    def judge(*texts: str) -> bool:
        seen.append(texts)  # type: ignore[arg-type]  # four of them
        return True

    shadow = ShadowCheck(judge, share=1.0)
    bank = Bank(similar_first=True, similar_shadow=shadow)
    assert await checked(bank, shadow, KNOWN) == "miss"
    assert seen == []
    assert await checked(bank, shadow, ASKED) == "miss"
    assert seen == [(ASKED, KNOWN, "Answer 0.", "Answer 1.")]
    assert (shadow.report.judged, shadow.report.error, shadow.off) == (1, 0.0, False)


@pytest.mark.parametrize("controls", [Controls(), Controls(refresh=True)])
async def test_the_shadow_compares_the_answer_of_a_stream_when_it_is_whole(controls: Controls) -> None:
    """Behind the caller; the answer of a stream that was cut is no answer to compare."""
    seen: list[tuple[str, ...]] = []

    def judge(*texts: str) -> bool:
        seen.append(texts)
        return False

    shadow = ShadowCheck(judge, share=1.0)
    bank = Bank(similar_first=True, similar_shadow=shadow)
    await checked(bank, shadow, KNOWN)
    bank.provider.cut_after = 2
    cut = bank.service.stream("Bank.", "How would I order a card?", model="m", cache=controls)
    assert len([piece async for piece in cut]) < len("Answer 1.")
    bank.provider.cut_after = None
    stream = bank.service.stream("Bank.", ASKED, model="m", cache=controls)
    own = "".join([piece async for piece in stream])
    assert (await stream.response()).cache_status == "miss"
    while first.RUNNING:
        await asyncio.wait(set(first.RUNNING))
    assert seen == [(ASKED, KNOWN, "Answer 0.", own)]
    assert shadow.off


async def test_above_its_limit_the_rung_switches_itself_off() -> None:
    async def wrong(*_: str) -> bool:
        return False

    shadow = ShadowCheck(wrong, share=1.0)
    bank = Bank(similar_shadow=shadow)
    await checked(bank, shadow, KNOWN)
    await checked(bank, shadow, ASKED)
    assert shadow.off
    bank.provider.bodies = [ConnectionError("down")]
    with pytest.raises(AllProvidersFailedError):
        await bank.ask("How would I order a card?")
    shadow.reset()
    assert await bank.ask("How would I order a card?") == "similar"


async def test_a_judge_that_fails_judges_nothing() -> None:
    def broken(*_: str) -> bool:
        raise RuntimeError

    shadow = ShadowCheck(broken, share=1.0)
    bank = Bank(similar_shadow=shadow)
    await checked(bank, shadow, KNOWN)
    assert await checked(bank, shadow, ASKED) == "miss"
    assert (shadow.report.judged, shadow.report.failed, shadow.off) == (0, 1, False)


@pytest.mark.parametrize("verdict", ["no", None, 0.5, [False], 1, 0, 1.0], ids=repr)
async def test_a_judge_that_gives_no_verdict_judges_nothing(verdict: Any) -> None:
    """The text "no" would be taken for True, a forgotten `return` for False, and a grade of 1 for the best one."""
    shadow = ShadowCheck(lambda *_: verdict, share=1.0)
    await shadow.judge("a", "b", "c", "d")
    assert (shadow.report.judged, shadow.report.failed) == (0, 1)


async def test_a_judge_of_no_coroutine_runs_beside_the_loop() -> None:
    threads: list[str] = []

    def judge(*_: str) -> bool:
        threads.append(threading.current_thread().name)
        return True

    shadow = ShadowCheck(judge, share=1.0)
    await shadow.judge("a", "b", "c", "d")
    assert shadow.report.judged == 1
    assert threads != [threading.main_thread().name]


async def test_a_judge_that_hangs_takes_no_thread_of_the_loop() -> None:
    """In those names of providers are looked up, and the end of the loop waits for them."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    released, told = threading.Event(), ContextVar("told", default="")
    seen: list[str] = []

    def hung(*_: str) -> bool:
        seen.append(told.get())
        return released.wait(120)

    shadow = ShadowCheck(hung, share=1.0)
    told.set("by the caller")
    judging = [asyncio.create_task(shadow.judge("a", "b", "c", "d")) for _ in range(10)]
    try:
        async with asyncio.timeout(60):
            await asyncio.sleep(0)
            assert await asyncio.to_thread(lambda: "free") == "free"
    finally:
        released.set()
    await asyncio.gather(*judging)
    assert shadow.report.judged == 10
    assert seen == ["by the caller"] * 10


async def test_a_judge_that_hangs_is_not_asked_for_ever() -> None:
    """Comparisons under way are bounded; calls beyond are not drawn."""
    ended = asyncio.Event()

    async def slow(*_: str) -> bool:
        await ended.wait()
        return True

    shadow = ShadowCheck(slow, share=1.0)
    bank = Bank(similar_shadow=shadow)
    await bank.ask(KNOWN)
    for _ in range(first.MOST_RUNNING + 10):
        await bank.ask(ASKED, cache=Controls(refresh=True))
    assert len(first.RUNNING) == first.MOST_RUNNING
    ended.set()
    while first.RUNNING:
        await asyncio.wait(set(first.RUNNING))


async def test_a_call_that_wants_no_similar_answer_is_not_checked() -> None:
    shadow = ShadowCheck(lambda *_: True, share=1.0)
    bank = Bank(similar_shadow=shadow)
    await checked(bank, shadow, KNOWN)
    await bank.service.generate("Bank.", ASKED, model="m", cache=Controls(similar=False))
    while first.RUNNING:
        await asyncio.wait(set(first.RUNNING))
    assert shadow.report.judged == 0


async def test_an_index_that_fails_costs_the_similar_answer_alone() -> None:
    class Broken(GramIndex):
        def add(self, partition: str, question: str) -> None:
            raise MemoryError

        async def search(self, partition: str, question: str) -> Any:
            raise KeyError(partition)

    bank = Bank(similar_first=True, similar_index=Broken())
    assert await bank.ask(KNOWN) == "miss"
    assert await bank.ask(ASKED) == "miss"
    bank.provider.bodies = [ConnectionError("down")]
    with pytest.raises(AllProvidersFailedError):
        await bank.ask("How would I order a card?")


async def test_an_index_that_finds_no_texts_costs_the_similar_answer_alone() -> None:
    """Its matches go through the laws, which read texts."""

    class Texts(GramIndex):
        async def search(self, partition: str, question: str) -> Any:
            return [Match(match.message.encode(), 1.0) for match in await super().search(partition, question)]  # type: ignore[arg-type]  # the mistake

    bank = Bank(similar_first=True, similar_index=Texts())
    assert [await bank.ask(KNOWN), await bank.ask(ASKED)] == ["miss", "miss"]


def test_a_rung_that_is_right_often_enough_stays_on() -> None:
    """One wrong in ten does not show more than 1 %; two do. And a sample is drawn by its share."""
    shadow = ShadowCheck(lambda *_: True, share=0.25, max_error=0.01, chance=random.Random(1))
    for _ in range(9):
        shadow.note(right=True)
    shadow.note(right=False)
    assert not shadow.off
    assert shadow.report.at_least <= 0.01 < shadow.report.at_most
    shadow.note(right=False)
    assert shadow.off
    assert 200 < sum(shadow.draws() for _ in range(1000)) < 300


@pytest.mark.parametrize("bad", [{"share": 0}, {"share": 2}, {"max_error": 0}, {"confidence": 1}])
def test_bad_settings_of_the_check(bad: dict[str, float]) -> None:
    with pytest.raises(OptionsError, match=next(iter(bad))):
        ShadowCheck(lambda *_: True, **bad)  # type: ignore[arg-type]  # floats, all of them


@pytest.mark.parametrize("bad", ["faq", [1], 7])
def test_bad_names_of_prompts(bad: Any) -> None:
    with pytest.raises(OptionsError, match="similar_first must be"):
        CacheConfig(similar_first=bad)
