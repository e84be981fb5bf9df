"""`LLMService` on a real SDK and the local provider: whatever a face is given shapes the request, or is an error."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import date
from typing import Any

import pytest
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletion
from pydantic import BaseModel

from cachecore import Cache, OptionsError
from cachecore_llm import (
    AllProvidersFailedError,
    Controls,
    FallbackOrchestrator,
    LLMResponse,
    LLMService,
    OpenAIProvider,
    ResponseCache,
    UnknownParameterError,
    UnsupportedRequestError,
)
from cachecore_llm.policy.prompts import Prompt, PromptRegistry
from cachecore_llm.testing.provider import LocalProvider

WEATHER = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


class City(BaseModel):
    name: str
    people: int


class Turn(BaseModel):
    role: str
    content: str
    name: str | None = None


class Own:
    """A provider of an application's own, without an identity."""

    def __init__(self, name: str, text: str) -> None:
        self.name, self.text = name, text
        self.given: list[Any] = []

    async def generate(self, system_prompt: str, user_message: Any, context: Any = None, **params: Any) -> LLMResponse:
        self.given.append((user_message, context, params))
        return LLMResponse(content=self.text, finish_reason="stop")


@pytest.fixture
async def server() -> AsyncIterator[LocalProvider]:
    async with LocalProvider() as running:
        yield running


@pytest.fixture
async def service(server: LocalProvider) -> AsyncIterator[LLMService]:
    async with (
        OpenAIProvider("gpt-local", base_url=server.openai_url, api_key="sk", max_retries=0) as provider,
        LLMService(provider, "memory://") as made,
    ):
        yield made


def client(server: LocalProvider, **options: Any) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=server.openai_url, max_retries=0, **options)


async def test_an_agents_turn_comes_from_the_cache(service: LLMService, server: LocalProvider) -> None:
    """A tool call, its result, and the same conversation again with other ids."""
    conversations = []
    for number in ("1", "2"):
        asked: list[Any] = [{"role": "user", "content": "Weather in Rome?"}]
        answer = await service.chat(asked, tools=[WEATHER], tool_choice="required")
        (call,) = answer.tool_calls
        assert call.name == "weather"
        used = {"name": call.name, "arguments": call.arguments}
        asked.append({"role": "assistant", "tool_calls": [{"id": number, "type": "function", "function": used}]})
        asked.append({"role": "tool", "tool_call_id": number, "content": "sunny"})
        conversations.append(await service.chat(asked, tools=[WEATHER]))
    assert server.calls == 2
    assert [one.cache_status for one in conversations] == ["miss", "hit"]


async def test_models_stand_where_dicts_do(service: LLMService, server: LocalProvider) -> None:
    answer = await service.chat([Turn(role="user", content="Hi")])
    again = await service.chat([{"role": "user", "content": "Hi"}])
    assert answer.content == again.content
    assert (again.cache_status, server.calls) == ("hit", 1)


async def test_a_form_given_as_a_class_is_sent_as_its_schema(service: LLMService, server: LocalProvider) -> None:
    answer = await service.generate("", "Which city?", response_format=City)
    assert isinstance(City.model_validate_json(answer.content), City)
    assert (await service.generate("", "Which city?", response_format=City)).cached
    sent = server.requests[0].body["response_format"]
    assert sent["json_schema"]["schema"]["additionalProperties"] is False
    assert sent["json_schema"]["schema"]["required"] == ["name", "people"]


async def test_what_the_provider_says_is_what_its_sdk_reads(service: LLMService) -> None:
    for _ in range(2):
        answer = await service.generate("", "Hi")
        assert ChatCompletion.model_validate(answer.body).choices[0].message.content == answer.content


async def test_a_streamed_chat(service: LLMService, server: LocalProvider) -> None:
    for status in ("miss", "hit"):
        stream = await service.chat([{"role": "user", "content": "[[say one two three]]"}], stream=True)
        assert "".join([piece async for piece in stream]) == "one two three"
        assert stream.cache_status == status
        assert (await stream.response()).usage is not None
    assert server.calls == 1


async def test_vectors(service: LLMService, server: LocalProvider) -> None:
    first = await service.embed(["a", "b"], model="local-embedding")
    second = await service.embed(["b", "c"], model="local-embedding")
    assert (first[1], second.cached, len(second[1])) == (second[0], (True, False), len(first[0]))
    assert [request.body["input"] for request in server.requests] == [["a", "b"], "c"]


@pytest.mark.parametrize("context", [[], (), "", {}, None])
async def test_an_empty_context_sends_no_message(service: LLMService, server: LocalProvider, context: Any) -> None:
    await service.generate("Be brief.", "Hi", context)
    assert [message["role"] for message in server.requests[0].body["messages"]] == ["system", "user"]


class TestMistakes:
    async def test_a_misspelt_parameter_names_the_nearest(self, service: LLMService, server: LocalProvider) -> None:
        for ask in (
            service.generate("", "Hi", temprature=0),
            service.chat([{"role": "user", "content": "Hi"}], temprature=0),
        ):
            with pytest.raises(UnknownParameterError, match="temperature"):
                await ask
        assert server.calls == 0

    @pytest.mark.parametrize("name", ["ttl", "no_cache", "max_age"])
    async def test_a_word_for_the_cache_is_never_sent(self, service: LLMService, name: str) -> None:
        for made in (service, LLMService(Own("own", "x"), service.cache)):
            with pytest.raises(OptionsError, match=r"cache=Controls"):
                await made.generate("", "Hi", **{name: 5})  # type: ignore[call-overload]  # the mistake itself

    async def test_messages_beside_prompts(self, service: LLMService) -> None:
        for made in (service, LLMService(Own("own", "x"), service.cache)):
            with pytest.raises(OptionsError, match="chat"):
                await made.generate("", "Hi", messages=[])

    @pytest.mark.parametrize(("messages", "told"), [([], "an empty one"), ("Hi", "str"), (None, "NoneType")])
    async def test_a_chat_without_messages(self, service: LLMService, messages: Any, told: str) -> None:
        with pytest.raises(OptionsError, match=rf"messages must be .*, not {told}: chat\(\[\{{"):
            await service.chat(messages)

    async def test_values_that_json_does_not_have(self, service: LLMService, server: LocalProvider) -> None:
        """The part is named, and its type."""
        for ask, told in (
            (service.generate("", "Hi", {"today": [1, date(2026, 1, 2)]}), r"context\.today\[1\] is of the type date"),
            (service.generate("", "Hi", {1: "a", "b": 2}), "context cannot be written as JSON"),
            (service.chat([{"role": "user", "content": "Hi"}], stop={"a"}), "^stop is of the type set, .* as text"),
            (service.embed([b"x"]), r"input\[0\] is of the type bytes"),
        ):
            with pytest.raises(UnsupportedRequestError, match=told):
                await ask
        assert server.calls == 0

    async def test_a_class_that_is_no_model(self, service: LLMService) -> None:
        with pytest.raises(OptionsError, match="pydantic"):
            await service.generate("", "Hi", response_format=str)

    @pytest.mark.parametrize("tools", [[City], [print], City])
    async def test_a_tool_that_is_no_description(self, service: LLMService, server: LocalProvider, tools: Any) -> None:
        with pytest.raises(OptionsError, match=r"tools\[0\] is (City|print), a class or a function"):
            await service.chat([{"role": "user", "content": "Hi"}], tools=tools)
        assert server.calls == 0

    async def test_a_control_that_there_is_not(self) -> None:
        with pytest.raises(OptionsError, match="max_age"):
            Controls(maxage=5)  # type: ignore[call-arg]  # the mistake itself


@pytest.mark.parametrize("face", ["generate", "chat"])
async def test_a_hasty_caller_does_not_end_the_wait_of_others(
    service: LLMService, server: LocalProvider, face: str
) -> None:
    """Its call is shared, and so is its end; the patient ones then ask once more, together."""

    def ask(**more: Any) -> Any:
        if face == "generate":
            return service.generate("", "Hi", **more)
        return service.chat([{"role": "user", "content": "Hi"}], **more)

    server.hold()
    hasty = asyncio.create_task(ask(timeout=0.2))
    patient = [asyncio.create_task(ask()) for _ in range(3)]  # they join the call before it has left
    with pytest.raises(AllProvidersFailedError, match="Timeout"):
        await hasty
    server.release()
    answers = await asyncio.gather(*patient)
    assert sorted(answer.cache_status for answer in answers) == ["joined", "joined", "miss"]
    assert server.calls in (1, 2)  # on a busy machine the first may not have reached the server in its time


class TestExtras:
    async def test_what_is_newer_is_sent_and_keyed(self, service: LLMService, server: LocalProvider) -> None:
        await service.generate("", "Hi", extra_body={"newer": 1})
        answer = await service.generate("", "Hi", extra_body={"newer": 2})
        assert (answer.cache_status, [request.body["newer"] for request in server.requests]) == ("miss", [1, 2])

    async def test_headers_are_sent_and_keyed_but_those_of_one_call(
        self, service: LLMService, server: LocalProvider
    ) -> None:
        await service.generate("", "Hi", extra_headers={"X-Adapter": "1", "X-Request-Id": "a"})
        assert (await service.generate("", "Hi", extra_headers={"x-adapter": "1", "X-Request-Id": "b"})).cached
        assert not (await service.generate("", "Hi", extra_headers={"X-Adapter": "2"})).cached
        sent = server.requests[0].headers
        assert (sent["x-adapter"], sent["x-request-id"]) == ("1", "a")

    async def test_query_is_sent_and_keyed(self, service: LLMService, server: LocalProvider) -> None:
        await service.generate("", "Hi", extra_query={"a": "1"})
        assert not (await service.generate("", "Hi", extra_query={"a": "2"})).cached
        assert server.calls == 2


class TestProviders:
    async def test_clients_of_two_customers_never_meet(self, server: LocalProvider) -> None:
        """Another key, organisation, project, default header or model is another request."""
        clients = [
            client(server, api_key="x", organization="org-A", default_headers={"X-Adapter": "lora-1"}),
            client(server, api_key="y", organization="org-A", default_headers={"X-Adapter": "lora-1"}),
            client(server, api_key="x", organization="org-B", default_headers={"X-Adapter": "lora-1"}),
            client(server, api_key="x", organization="org-A", default_headers={"X-Adapter": "lora-2"}),
        ]
        async with ResponseCache("memory://") as cache:
            for one in clients:
                assert not (await LLMService(OpenAIProvider("m", client=one), cache).generate("", "Hi")).cached
            assert not (await LLMService(OpenAIProvider("n", client=clients[0]), cache).generate("", "Hi")).cached
            assert (await LLMService(OpenAIProvider("m", client=clients[0]), cache).generate("", "Hi")).cached
        assert server.calls == 5
        for one in clients:
            await one.close()

    async def test_customers_may_share_on_purpose(self, server: LocalProvider) -> None:
        async with ResponseCache("memory://") as cache:
            for key, cached in (("x", False), ("y", True)):
                async with client(server, api_key=key) as one:
                    service = LLMService(OpenAIProvider("m", client=one, scope="all"), cache)
                    assert (await service.generate("", "Hi")).cached is cached

    async def test_what_a_customer_keeps_at_the_provider_is_never_shared(self, server: LocalProvider) -> None:
        """Ids of files mean something else to another customer, whatever scope the two have chosen."""
        picture = {"type": "file", "file": {"file_id": "file-1"}}
        asked = [{"role": "user", "content": [picture]}]
        async with ResponseCache("memory://") as cache:
            for key, status in (("x", "miss"), ("y", "miss"), ("x", "hit")):
                async with client(server, api_key=key) as one:
                    service = LLMService(OpenAIProvider("m", client=one, scope="all"), cache)
                    assert (await service.chat(asked)).cache_status == status

            async def rotating() -> str:
                return "x"

            async with client(server, api_key=rotating) as one:
                service = LLMService(OpenAIProvider("m", client=one, scope="all"), cache)
                assert (await service.chat(asked)).cache_status == "bypass"
                assert (await service.chat([{"role": "user", "content": "Hi"}])).cache_status == "miss"

    async def test_two_providers_without_an_identity_never_meet(self) -> None:
        big, small = Own("big", "BIG"), Own("small", "SMALL")
        async with ResponseCache("memory://") as cache:
            for providers, content in (([big, small], "BIG"), ([small, big], "SMALL"), ([big, small], "BIG")):
                service = LLMService(FallbackOrchestrator(providers), cache)
                assert service.providers == LLMService(providers, cache).providers == tuple(providers)
                answer = await service.generate("x", "y")
                assert answer.content == content
        assert (len(big.given), len(small.given)) == (1, 1)

    async def test_a_provider_of_ones_own_gets_what_was_given(self) -> None:
        own = Own("own", "x")
        async with LLMService(own, "memory://") as service:
            parts = [{"type": "text", "text": "Hi"}]
            await service.generate("s", parts, {"doc": b"1"}, response_format=City, timeout=5)
        assert own.given == [(parts, {"doc": b"1"}, {"response_format": City, "timeout": 5})]

    async def test_chat_with_a_provider_of_ones_own(self) -> None:
        own = Own("own", "x")
        async with LLMService(own, "memory://") as service:
            asked = [{"role": "system", "content": "s"}, {"role": "user", "content": "Hi"}]
            answers = [await service.chat(asked) for _ in range(2)]
        assert [one.cache_status for one in answers] == ["miss", "hit"]
        assert own.given[0][0] == "Hi"


class TestPromptsAndTenants:
    async def test_a_named_prompt_is_made_invalid_by_its_name(self) -> None:
        own = Own("own", "x")
        async with LLMService(own, "memory://", prompts=[Prompt("faq", "Answer from the FAQ.")]) as service:
            await service.generate(service.prompts["faq"], "Hi")
            assert (await service.generate(service.prompts["faq"], "Hi")).cached
            assert await service.cache.invalidate_prompt("faq") == 1
            assert not (await service.generate(service.prompts["faq"], "Hi")).cached

    async def test_a_changed_text_makes_the_old_answers_invalid_if_asked(self) -> None:
        own = Own("own", "x")
        registry = PromptRegistry([Prompt("faq", "old")], invalidate=True)
        async with LLMService(own, "memory://", prompts=registry) as service:
            await service.generate(Prompt("faq", "old"), "Hi")
            await service.generate(Prompt("faq", "new"), "Hi")
            assert not (await service.generate(Prompt("faq", "old"), "Hi")).cached

    async def test_a_stream_notices_a_changed_text_too(self) -> None:
        registry = PromptRegistry([Prompt("faq", "old")], invalidate=True)
        async with LLMService(Own("own", "x"), "memory://", prompts=registry) as service:
            await service.generate(Prompt("faq", "old"), "Hi")
            assert (await service.stream(Prompt("faq", "new"), "Hi").response()).cache_status == "miss"
            assert not (await service.generate(Prompt("faq", "old"), "Hi")).cached

    async def test_a_prompt_is_a_label(self) -> None:
        async with LLMService(Own("own", "x"), "memory://") as service:
            with pytest.raises(OptionsError, match="label"):
                await service.generate(Prompt("faq", "text"), "Hi", label="other")

    async def test_tenants_may_be_required(self) -> None:
        async with LLMService(Own("own", "x"), "memory://", tenants="required") as service:
            for ask in (
                lambda: service.generate("", "Hi"),
                lambda: service.chat([{"role": "user", "content": "Hi"}]),
                lambda: service.embed("Hi"),
                lambda: service.delete("", "Hi"),
            ):
                with pytest.raises(OptionsError, match="tenant"):
                    await ask()
            with pytest.raises(OptionsError, match="tenant"):
                service.stream("", "Hi")
            assert (await service.generate("", "Hi", tenant="acme")).content == "x"


async def test_a_service_takes_a_cache_of_the_core() -> None:
    async with Cache("memory://", ttl=60) as core:
        service = LLMService(Own("own", "x"), core)
        await service.generate("", "Hi")
        assert (await service.generate("", "Hi")).cached
        await service.aclose()
        assert await core.get("nothing") is None  # it is open: it was given
