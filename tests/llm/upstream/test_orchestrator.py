"""Providers in order: who is asked when, for how long, and what is told if nobody answers."""

from __future__ import annotations

import asyncio
import pickle
import traceback
from typing import Any

import pytest
from anthropic import Anthropic
from openai import AsyncOpenAI, OpenAI

from cachecore import OptionsError
from cachecore_llm import (
    AllProvidersFailedError,
    AnthropicProvider,
    FallbackOrchestrator,
    LLMResponse,
    OpenAIProvider,
    ProviderFailure,
    ProviderTimeoutError,
    ProviderUnavailableError,
    ReportedError,
    UnknownParameterError,
    UnsupportedRequestError,
    UnusableAnswerError,
)


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


@pytest.mark.parametrize("given", ["gpt-4o", None, AsyncOpenAI(api_key="k")])
def test_what_is_no_provider_is_told_which_is(given: Any) -> None:
    with pytest.raises(OptionsError, match=rf"such as OpenAIProvider\('gpt-4o-mini'\), .*, not {type(given).__name__}"):
        FallbackOrchestrator([given])


@pytest.mark.parametrize("made", [OpenAIProvider, AnthropicProvider])
def test_a_client_for_threads_is_refused(made: Any) -> None:
    """At its first answer it would have been paid for one that cannot be awaited."""
    client = OpenAI(api_key="k") if made is OpenAIProvider else Anthropic(api_key="k")
    with pytest.raises(OptionsError, match=rf"not {type(client).__name__}: give client=Async{type(client).__name__}"):
        made("m", client=client)


@pytest.mark.parametrize("model", [None, "", 5])
@pytest.mark.parametrize("made", [OpenAIProvider, AnthropicProvider])
def test_a_model_without_a_name_is_refused(made: Any, model: Any) -> None:
    """A variable of the environment that is not set is None."""
    with pytest.raises(OptionsError, match=rf"model must be the name of a model, such as '.*', not {model!r}"):
        made(model, api_key="k")


@pytest.mark.parametrize("made", [OpenAIProvider, AnthropicProvider])
def test_an_address_without_a_scheme_is_refused(made: Any) -> None:
    """The SDK would say no more than "Connection error" at each request."""
    with pytest.raises(OptionsError, match=r"base_url must begin with https:// or http://, .* not localhost:"):
        made("m", api_key="k", base_url="localhost:11434")


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


def test_failures_tell_what_holds_no_prompt() -> None:
    """A status, a timeout, and how long a provider is not asked, with what it failed with last."""
    limited: Any = ConnectionError("sk-secret")
    limited.status_code = 429
    closed = ProviderUnavailableError("c", 29.96)
    closed.__cause__ = limited
    unable = UnsupportedRequestError("seed has no equal; leave it out")
    errors = [limited, ProviderTimeoutError("b", 30), closed, ProviderUnavailableError("d", 5), unable]
    told = str(AllProvidersFailedError([ProviderFailure("p", error) for error in errors]))
    assert told == (
        "all 5 providers failed: p: ConnectionError (HTTP status 429); "
        "p: ProviderTimeoutError (no answer within 30 s); "
        "p: ProviderUnavailableError (not asked again for 30 s, because it has failed repeatedly, "
        "last with ConnectionError (HTTP status 429)); "
        "p: ProviderUnavailableError (not asked again for 5 s, because it has failed repeatedly); "
        "p: UnsupportedRequestError (seed has no equal; leave it out)"
    )


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


@pytest.mark.parametrize(
    "error",
    [
        ProviderTimeoutError("p", 1.5),
        ProviderUnavailableError("p", 3),
        UnusableAnswerError("p", "no choices"),
        ReportedError("p", 503, "server_error", "busy"),
        ReportedError("p"),
        UnknownParameterError("openai.chat", "temprature", "temperature"),
        UnknownParameterError("openai.chat", "x"),
    ],
    ids=str,
)
def test_every_error_survives_a_process_border(error: Exception) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))
