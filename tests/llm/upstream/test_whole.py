"""Whole answers of several providers: models, endpoints, answers that are none or of no use."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cachecore import OptionsError
from cachecore.testing.clocks import FakeClock
from cachecore_llm import (
    AllProvidersFailedError,
    BreakerOptions,
    FallbackOrchestrator,
    LLMResponse,
    OpenAIProvider,
    ProviderTimeoutError,
    ProviderUnavailableError,
    ReportedError,
    UnsupportedRequestError,
    UnusableAnswerError,
)
from cachecore_llm.testing.provider import LocalProvider
from cachecore_llm.wire import Call
from tests.llm.upstream.calls import chat, plain
from tests.llm.upstream.scripted import Hang, Scripted, completion, empty
from tests.unit.virtual_caches import Scene, virtual


class Other(Scripted):
    """A provider of another kind, whose models have names of their own."""


async def test_mistake_of_the_caller_is_raised_and_no_other_provider_is_asked() -> None:
    second = Scripted("second", completion())
    error = TypeError("generate() got an unexpected keyword argument 'temprature'")
    with pytest.raises(TypeError) as raised:
        await FallbackOrchestrator([Scripted("first", error), second]).send(chat("x"))
    assert raised.value is error
    assert second.calls == []


async def test_mistake_at_another_provider_is_a_failure() -> None:
    """It was sent what was written for the first one."""
    first, second = Scripted("first", ConnectionError()), Scripted("second", UnsupportedRequestError("tools"))
    with pytest.raises(AllProvidersFailedError) as raised:
        await FallbackOrchestrator([first, second]).send(chat("x"))
    assert [type(cause) for cause in raised.value.causes] == [ConnectionError, UnsupportedRequestError]


@pytest.mark.parametrize("finish", ["stop", "content_filter"])
async def test_answer_of_no_use_asks_the_next(finish: str) -> None:
    providers = [Scripted("first", completion("", finish)), Scripted("second", completion("fine"))]
    sent = await FallbackOrchestrator(providers).send(chat("x"), unusable=empty)
    assert (sent.provider, sent.fallback) == ("second", True)


async def test_answer_of_no_use_is_given_if_no_other_is_better() -> None:
    body = completion("", "content_filter")
    providers = [Scripted("first", body), Scripted("second", ConnectionError()), Scripted("third", completion(""))]
    sent = await FallbackOrchestrator(providers).send(chat("x"), unusable=empty)
    assert (sent.provider, sent.fallback, sent.body) == ("first", False, body)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"error": {"message": "busy", "type": "server_error"}}, ReportedError),
        ({"object": "error", "message": "busy", "code": 503}, ReportedError),
        (completion(finish="error"), None),
        ({"choices": []}, UnusableAnswerError),
        ({"choices": None}, UnusableAnswerError),
        ({}, UnusableAnswerError),
        ({"choices": [{"message": {"content": 42}}]}, UnusableAnswerError),
        ({"choices": [{"finish_reason": "stop"}]}, UnusableAnswerError),
        ("text", UnusableAnswerError),
    ],
    ids=str,
)
async def test_body_that_is_no_answer_asks_the_next(body: Any, kind: type[Exception] | None) -> None:
    providers = [Scripted("first", body), Scripted("second", completion())]
    sent = await FallbackOrchestrator(providers).send(chat("x"))
    assert sent.provider == ("second" if kind else "first")
    if kind:
        with pytest.raises(AllProvidersFailedError) as raised:
            await FallbackOrchestrator(providers[:1]).send(chat("x"))
        assert type(raised.value.causes[0]) is kind


class TestModels:
    async def _asked(self, asked: str | None, models: Any = None, kind: type[Scripted] = Scripted) -> str | None:
        first, second = Scripted("first", ConnectionError(), model="a"), kind("second", completion(), model="b")
        call = chat("x")
        body = {key: value for key, value in call.body.items() if key != "model"}
        body |= {} if asked is None else {"model": asked}
        call = Call(protocol="openai.chat", endpoint="http://x", body=body)
        await FallbackOrchestrator([first, second], models=models).send(call)
        assert first.calls[0].body.get("model") == asked
        model: str | None = second.calls[0].body.get("model")
        return model

    async def test_map(self) -> None:
        models = {"second": {"a": "b-large", "*": "b-small"}}
        assert await self._asked("a", models) == "b-large"
        assert await self._asked("a-other", models) == "b-small"
        assert await self._asked(None, models) == "b-small"

    async def test_default_of_the_first_is_not_asked_of_another(self) -> None:
        assert await self._asked("a") is None
        assert await self._asked(None) is None

    async def test_name_survives_at_a_provider_of_the_same_kind_only(self) -> None:
        assert await self._asked("a-other") == "a-other"
        assert await self._asked("a-other", kind=Other) is None
        assert await self._asked("a-other", {"second": {"a-other": "b-other"}}, kind=Other) == "b-other"

    async def test_parameters_of_a_plain_call(self) -> None:
        class Own:
            name = "own"

            async def generate(
                self, system_prompt: str, user_message: str, context: Any = None, **params: Any
            ) -> LLMResponse:
                return LLMResponse(str(params))

        first = Scripted("first", ConnectionError(), model="a")
        orchestrator = FallbackOrchestrator([first, Own()], models={"own": {"a": "mine"}})
        sent = await orchestrator.send(plain("x", model="a", temperature=0))
        assert sent.body["content"] == "{'temperature': 0, 'model': 'mine'}"

    @pytest.mark.parametrize("models", [{"third": {}}, {"second": {"a": 1}}, {"second": ["a"]}, {"second": {"a": ""}}])
    def test_wrong_settings(self, models: Any) -> None:
        with pytest.raises(OptionsError, match="models"):
            FallbackOrchestrator([Scripted("first"), Scripted("second")], models=models)

    async def test_through_the_sdk(self, server: LocalProvider) -> None:
        def provider(model: str, name: str) -> OpenAIProvider:
            return OpenAIProvider(model, name=name, base_url=server.openai_url, api_key="k", max_retries=0)

        async with provider("gpt-a", "one") as one, provider("gpt-b", "two") as two:
            orchestrator = FallbackOrchestrator([one, two], models={"two": {"gpt-a": "gpt-b-large"}})
            server.queue("[[error 503]]")
            sent = await orchestrator.send(chat("x", model="gpt-a"))
        assert (sent.provider, sent.fallback) == ("two", True)
        assert [request.body["model"] for request in server.requests] == ["gpt-a", "gpt-b-large"]


async def test_call_goes_to_each_providers_own_endpoint_with_the_query_of_the_call() -> None:
    first = Scripted("first", ConnectionError(), endpoint="http://a/v1?api-version=1")
    second = Scripted("second", completion(), endpoint="http://b/v1#max_tokens=5")
    call = Call(protocol="openai.chat", endpoint="http://a/v1?api-version=1&adapter=7", body=chat("x").body)
    await FallbackOrchestrator([first, second]).send(call)
    assert first.calls == [call]
    assert second.calls[0].endpoint == "http://b/v1?adapter=7#max_tokens=5"


async def test_headers_of_the_first_providers_client_stay_there() -> None:
    first, second = Scripted("first", ConnectionError()), Scripted("second", completion())
    first.shaping = {"anthropic-version": "1", "x-adapter": "lora"}
    call = Call(
        protocol="openai.chat",
        endpoint=first.endpoint,
        body=chat("x").body,
        headers={**first.shaping, "x-adapter": "asked", "x-mine": "1"},
    )
    await FallbackOrchestrator([first, second]).send(call)
    assert first.calls == [call]
    assert second.calls[0].headers == {"x-adapter": "asked", "x-mine": "1"}


async def test_provider_that_hangs_costs_its_time_once() -> None:
    first, second = Scripted("first", Hang()), Scripted("second", completion())
    orchestrator = FallbackOrchestrator([first, second], timeouts={"first": 0.02})
    assert [(await orchestrator.send(chat("x"))).provider for _ in range(5)] == ["second"] * 5
    assert len(first.calls) == 1


@virtual
async def test_embeddings_are_made_while_a_model_hangs(scene: Scene) -> None:
    provider = Scripted("first", Hang())
    orchestrator = FallbackOrchestrator([provider], timeout=20, clock=scene.clock)
    for error in (ProviderTimeoutError, ProviderUnavailableError):
        with pytest.raises(AllProvidersFailedError) as raised:
            await orchestrator.send(chat("x"))
        assert type(raised.value.causes[0]) is error
    provider.script = [{"object": "list", "data": []}]
    call = Call(protocol="openai.embeddings", endpoint="", body={"model": "m", "input": []})
    assert (await orchestrator.send(call)).body["data"] == []


async def test_caller_that_leaves_gives_the_probe_back() -> None:
    clock, dead = FakeClock(), Scripted("dead", ConnectionError())
    orchestrator = FallbackOrchestrator([dead], breaker=BreakerOptions(failures=1, pause=10), clock=clock)
    with pytest.raises(AllProvidersFailedError):
        await orchestrator.send(chat("x"))
    clock.advance(10)
    for ask in (lambda: orchestrator.send(chat("x")), lambda: anext(orchestrator.stream(chat("x")))):
        dead.script = [Hang()]
        leaving = asyncio.ensure_future(ask())
        for _ in range(5):
            await asyncio.sleep(0)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
    dead.script = [completion()]
    assert (await orchestrator.send(chat("x"))).provider == "dead"


async def test_time_and_name_that_a_plain_answer_says_win() -> None:
    class Own:
        name = "own"

        async def generate(
            self, system_prompt: str, user_message: str, context: Any = None, **params: Any
        ) -> LLMResponse:
            return LLMResponse("hi", provider="inner", latency=2.5)

    sent = await FallbackOrchestrator([Own()]).send(plain("x"))
    assert (sent.provider, sent.latency) == ("inner", 2.5)
    assert sent.body["content"] == "hi"
    assert not {"provider", "latency"} & set(sent.body)
