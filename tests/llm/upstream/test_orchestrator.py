"""Providers in order: who is asked when, for how long, and what is told if nobody answers."""

from __future__ import annotations

import asyncio
import pickle
import traceback
from typing import Any

import pytest

from cachecore import OptionsError
from cachecore_llm import (
    AllProvidersFailedError,
    FallbackOrchestrator,
    LLMResponse,
    ProviderFailure,
    ProviderTimeoutError,
    SimulatedProvider,
    UnusableAnswerError,
)
from cachecore_llm.simulated import SimulatedFailureError


class Answers:
    def __init__(self, name: str, answer: Any = None) -> None:
        self.name = name
        self.answer = LLMResponse(f"from {name}") if answer is None else answer
        self.calls = 0

    async def generate(self, system_prompt: str, user_message: str, context: Any = None, **params: Any) -> LLMResponse:
        self.calls += 1
        if isinstance(self.answer, BaseException):
            raise self.answer
        answer: LLMResponse = self.answer
        return answer


class Hangs(Answers):
    """Never answers; with `stubborn` it does not even end when it is cancelled."""

    def __init__(self, name: str, *, stubborn: bool = False) -> None:
        super().__init__(name)
        self.stubborn = stubborn
        self.release = asyncio.Event()
        self.cancelled = 0

    async def generate(self, system_prompt: str, user_message: str, context: Any = None, **params: Any) -> LLMResponse:
        while True:
            try:
                await self.release.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                if not self.stubborn:
                    raise
            else:
                raise ConnectionError("late")


async def test_first_provider_answers_and_the_others_are_not_asked() -> None:
    first, second = Answers("first"), Answers("second")
    answer = await FallbackOrchestrator([first, second]).generate("s", "u")
    assert (answer.content, answer.provider, answer.fallback) == ("from first", "first", False)
    assert second.calls == 0


async def test_next_provider_answers_for_one_that_fails() -> None:
    answer = await FallbackOrchestrator([Answers("first", ConnectionError()), Answers("second")]).generate("s", "u")
    assert (answer.content, answer.provider, answer.fallback) == ("from second", "second", True)


async def test_attribute_that_is_no_mapping_is_no_identity() -> None:
    """`identity` is a common word: a provider's credential may be called that."""

    class Credentialed(Answers):
        identity = "managed"

    assert FallbackOrchestrator([Credentialed("a")]).identity == {}


async def test_every_cause_is_carried_in_order() -> None:
    errors = [ConnectionError("sk-secret"), ValueError("prompt")]
    orchestrator = FallbackOrchestrator([Answers(f"p{i}", error) for i, error in enumerate(errors)])
    with pytest.raises(AllProvidersFailedError) as raised:
        await orchestrator.generate("s", "u")
    assert list(raised.value.causes) == errors
    assert [failure.provider for failure in raised.value.failures] == ["p0", "p1"]
    assert str(raised.value) == "all 2 providers failed: p0: ConnectionError; p1: ValueError"
    assert isinstance(raised.value.__cause__, ExceptionGroup)
    assert "p0" in "".join(traceback.format_exception(raised.value))


def test_error_survives_a_process_border() -> None:
    error = AllProvidersFailedError([ProviderFailure("p", ValueError("x"))])
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == str(error)
    assert isinstance(copy.causes[0], ValueError)


async def test_provider_that_hangs_loses_its_turn() -> None:
    """Each provider has its own time, and the next one is asked when that is over."""
    hangs = Hangs("slow")
    orchestrator = FallbackOrchestrator([hangs, Answers("second")], timeout=60, timeouts={"slow": 0.01})
    answer = await orchestrator.generate("s", "u")
    assert answer.provider == "second"
    assert hangs.cancelled == 1
    assert orchestrator.total_timeout == pytest.approx(60.01)


async def test_driver_that_swallows_its_cancellation_holds_nobody() -> None:
    """As redis-py does on Python 3.11 and some HTTP clients do: the call is left behind, not waited for."""
    hangs = Hangs("stubborn", stubborn=True)
    orchestrator = FallbackOrchestrator([hangs], timeout=0.01)
    with pytest.raises(AllProvidersFailedError) as raised:
        await orchestrator.generate("s", "u")
    assert isinstance(raised.value.causes[0], ProviderTimeoutError)
    assert str(raised.value.causes[0]) == "stubborn did not answer within 0.01 s"
    before = asyncio.all_tasks()
    hangs.release.set()  # its late error is taken silently
    await asyncio.wait([task for task in before if task is not asyncio.current_task()])
    assert hangs.cancelled == 1


async def test_cancelled_caller_cancels_its_call() -> None:
    hangs = Hangs("slow")
    caller = asyncio.create_task(FallbackOrchestrator([hangs, Answers("second")]).generate("s", "u"))
    for _ in range(3):
        await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await asyncio.sleep(0)
    assert hangs.cancelled == 1


async def test_what_is_no_response_is_a_failure() -> None:
    """A provider that returns text or None does not get through as an answer."""
    answer = await FallbackOrchestrator([Answers("wrong", "text"), Answers("second")]).generate("s", "u")
    assert answer.provider == "second"
    with pytest.raises(AllProvidersFailedError) as raised:
        await FallbackOrchestrator([Answers("wrong", "text")]).generate("s", "u")
    assert isinstance(raised.value.causes[0], UnusableAnswerError)


async def test_interrupts_are_not_taken_for_failures() -> None:
    second = Answers("second")
    with pytest.raises(asyncio.CancelledError):
        await FallbackOrchestrator([Answers("first", asyncio.CancelledError()), second]).generate("s", "u")
    assert second.calls == 0


@pytest.mark.parametrize(
    ("providers", "options", "said"),
    [
        ([], {}, "at least one"),
        (["a", "a"], {}, "differ"),
        (["a"], {"timeouts": {"b": 1}}, "providers are: a"),
        (["a"], {"timeout": 0}, "timeout"),
        (["a"], {"timeouts": {"a": float("nan")}}, "timeout"),
    ],
)
def test_wrong_settings_fail_while_building(providers: list[str], options: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionsError, match=said):
        FallbackOrchestrator([Answers(name) for name in providers], **options)


class TestSimulatedProvider:
    async def _answers(self, provider: SimulatedProvider, count: int = 400) -> list[LLMResponse | Exception]:
        async def one(number: int) -> LLMResponse | Exception:
            try:
                return await provider.generate("s", f"question {number}")
            except SimulatedFailureError as error:
                return error

        return [await one(number) for number in range(count)]

    async def test_waits_as_long_as_it_says(self) -> None:
        """Latencies are log-normal around the median; the waiting is shortened, what is told is not."""
        waited: list[float] = []

        async def sleep(seconds: float) -> None:
            waited.append(seconds)

        answers = await self._answers(SimulatedProvider(median_latency=2.0, spread=0.5, speed=4, sleep=sleep))
        told = sorted(answer.latency for answer in answers if isinstance(answer, LLMResponse))
        assert sorted(waited) == pytest.approx([seconds / 4 for seconds in told])
        assert told[200] == pytest.approx(2.0, rel=0.1)
        assert told[395] == pytest.approx(2.0 * 3.2, rel=0.4)

    async def test_same_question_is_the_same_in_every_run(self) -> None:
        async def sleep(seconds: float) -> None:
            pass

        first, second = (SimulatedProvider(seed=3, flawed=0.3, sleep=sleep) for _ in range(2))
        assert list(map(repr, await self._answers(first, 50))) == list(map(repr, await self._answers(second, 50)))
        assert first.calls == 50

    async def test_flaws_are_as_many_as_declared(self) -> None:
        async def sleep(seconds: float) -> None:
            pass

        answers = await self._answers(SimulatedProvider(flawed=0.2, sleep=sleep))
        failed = sum(isinstance(answer, Exception) for answer in answers)
        whole = [answer for answer in answers if isinstance(answer, LLMResponse)]
        cut = sum(answer.finish_reason == "length" for answer in whole)
        empty = sum(answer.content == "" for answer in whole)
        refused = sum("sorry" in answer.content for answer in whole)
        assert min(failed, cut, empty, refused) >= 8
        assert 50 <= failed + cut + empty + refused <= 110

    async def test_says_that_it_is_a_simulation(self) -> None:
        description = SimulatedProvider(speed=8, flawed=0.02).description
        assert "SIMULATED" in description
        assert "shortened 8 times" in description
        assert "2%" in description

    @pytest.mark.parametrize("wrong", [{"speed": 0}, {"median_latency": -1}, {"flawed": 1.5}])
    def test_wrong_settings(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(OptionsError, match=next(iter(wrong))):
            SimulatedProvider(**wrong)
