"""When a provider is not asked, in time that the tests move."""

from __future__ import annotations

from typing import Any

import httpx2
import openai
import pytest

from cachecore import OptionsError
from cachecore.testing.clocks import FakeClock
from cachecore_llm import (
    AllProvidersFailedError,
    BreakerOptions,
    FallbackOrchestrator,
    LLMResponse,
    ProviderTimeoutError,
    ProviderUnavailableError,
)
from cachecore_llm.upstream import Breaker


class Dead:
    """Fails as it is told to, and counts how often it was asked."""

    def __init__(self, error: Exception, name: str = "dead") -> None:
        self.name = name
        self.identity = {"name": name}
        self.error: Exception | None = error
        self.calls = 0

    async def generate(self, system_prompt: str, user_message: str, context: Any = None, **params: Any) -> LLMResponse:
        self.calls += 1
        if self.error is not None:
            raise self.error
        return LLMResponse("back")


class Refused(Exception):
    """An SDK's error with a status."""

    def __init__(self, status_code: int) -> None:
        super().__init__(status_code)
        self.status_code = status_code


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


async def _answers(orchestrator: FallbackOrchestrator, count: int) -> list[str]:
    return [(await orchestrator.generate("", "q")).provider for _ in range(count)]


async def test_a_hasty_caller_does_not_take_the_provider_from_others(clock: FakeClock) -> None:
    """The end of a timeout that one call set for itself is a failure as any; five in a row open the breaker."""
    slow, spare = Dead(TimeoutError(), "slow"), Dead(ConnectionError(), "spare")
    spare.error = None
    orchestrator = FallbackOrchestrator([slow, spare], clock=clock)
    assert (await orchestrator.generate("", "q", timeout=30)).provider == "spare"
    slow.error = None
    assert await _answers(orchestrator, 1) == ["slow"]
    slow.error = TimeoutError()
    for _ in range(5):
        await orchestrator.generate("", "q", timeout=30)
    assert slow.calls == 7
    assert await _answers(orchestrator, 1) == ["spare"]
    assert slow.calls == 7


async def test_two_hundred_questions_to_a_dead_provider_are_five_calls(clock: FakeClock) -> None:
    dead, spare = Dead(ConnectionError()), Dead(ConnectionError(), "spare")
    spare.error = None
    orchestrator = FallbackOrchestrator([dead, spare], clock=clock)
    assert await _answers(orchestrator, 200) == ["spare"] * 200
    assert (dead.calls, spare.calls) == (5, 200)


@pytest.mark.parametrize(
    "error",
    [
        ProviderTimeoutError("dead", 60),
        TimeoutError(),
        openai.APITimeoutError(request=httpx2.Request("POST", "http://x")),
    ],
)
async def test_timeout_counts_at_once(error: Exception, clock: FakeClock) -> None:
    """A provider that hangs costs its time once, whether that is the orchestrator's or the SDK's own."""
    dead, spare = Dead(error), Dead(ConnectionError(), "spare")
    spare.error = None
    assert await _answers(FallbackOrchestrator([dead, spare], clock=clock), 5) == ["spare"] * 5
    assert dead.calls == 1


async def test_one_call_probes_and_the_provider_is_back(clock: FakeClock) -> None:
    dead, spare = Dead(ConnectionError()), Dead(ConnectionError(), "spare")
    spare.error = None
    orchestrator = FallbackOrchestrator([dead, spare], breaker=BreakerOptions(failures=2, pause=10), clock=clock)
    await _answers(orchestrator, 4)
    clock.advance(9.9)
    assert await _answers(orchestrator, 1) == ["spare"]
    dead.error = None
    clock.advance(0.2)
    assert await _answers(orchestrator, 2) == ["dead", "dead"]
    assert dead.calls == 4


async def test_pause_doubles_with_each_probe_that_fails_up_to_its_bound(clock: FakeClock) -> None:
    dead = Dead(ConnectionError())
    orchestrator = FallbackOrchestrator(
        [dead], breaker=BreakerOptions(failures=1, pause=10, longest_pause=30), clock=clock
    )
    pauses = []
    for _ in range(4):
        with pytest.raises(AllProvidersFailedError):
            await orchestrator.generate("", "q")
        with pytest.raises(AllProvidersFailedError) as raised:
            await orchestrator.generate("", "q")
        error = raised.value.causes[0]
        assert isinstance(error, ProviderUnavailableError)
        assert error.__cause__ is dead.error
        pauses.append(error.retry_in)
        clock.advance(error.retry_in)
    assert pauses == pytest.approx([10, 20, 30, 30])
    assert dead.calls == 4


@pytest.mark.parametrize("error", [Refused(400), Refused(404), ValueError("no JSON")])
async def test_provider_that_judges_requests_is_alive(error: Exception, clock: FakeClock) -> None:
    dead = Dead(error)
    orchestrator = FallbackOrchestrator([dead], breaker=BreakerOptions(failures=2), clock=clock)
    for _ in range(5):
        with pytest.raises((Refused, AllProvidersFailedError)):
            await orchestrator.generate("", "q")
    assert dead.calls == 5


def test_answer_between_failures_begins_the_count_anew() -> None:
    breaker = Breaker(BreakerOptions(failures=3))
    for now in range(10):
        for _ in range(2):
            assert breaker.admit(now) == "call"
            breaker.failed("call", ConnectionError(), now, at_once=False)
        assert breaker.admit(now) == "call"
        breaker.answered("call")
    assert not breaker.is_open


def test_one_probe_at_a_time_and_one_that_is_cancelled_makes_room() -> None:
    breaker = Breaker(BreakerOptions(failures=1, pause=10))
    breaker.failed("call", ConnectionError(), 0, at_once=False)
    assert [breaker.admit(10), breaker.admit(10)] == ["probe", None]
    breaker.left("probe")
    assert breaker.admit(10) == "probe"


def test_calls_under_way_when_it_opened_do_not_count_again_and_do_not_end_a_probe() -> None:
    breaker = Breaker(BreakerOptions(failures=1, pause=10))
    for _ in range(3):
        assert breaker.admit(0) == "call"
    for _ in range(3):
        breaker.failed("call", ConnectionError(), 0, at_once=False)
    assert breaker.retry_in(0) == 10
    assert breaker.admit(10) == "probe"
    breaker.left("call")
    breaker.failed("call", ConnectionError(), 10, at_once=True)
    assert breaker.admit(11) is None


def test_late_answer_of_a_call_under_way_closes_it() -> None:
    breaker = Breaker(BreakerOptions(failures=1, pause=10))
    breaker.failed("call", ConnectionError(), 0, at_once=False)
    breaker.answered("call")
    assert breaker.admit(1) == "call"
    assert breaker.last_error is None


@pytest.mark.parametrize(
    "wrong", [{"failures": 0}, {"failures": 1.5}, {"failures": True}, {"pause": 0}, {"longest_pause": 5}]
)
def test_wrong_settings(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionsError, match=next(iter(wrong))):
        BreakerOptions(**wrong)


@pytest.mark.parametrize("wrong", [5, 0, False, {"failures": 3}])
def test_settings_of_another_kind(wrong: Any) -> None:
    with pytest.raises(OptionsError, match="BreakerOptions"):
        FallbackOrchestrator([Dead(ConnectionError())], breaker=wrong)
