"""Providers that have only `generate`: what tells them apart, and chat calls of a simple shape."""

from __future__ import annotations

import asyncio
import logging
import threading
from enum import IntEnum
from typing import Any

import pytest

from cachecore import OptionsError
from cachecore_llm import LLMResponse, ToolCall, UnsupportedRequestError, UnusableAnswerError, Usage
from cachecore_llm.upstream import PlainProvider, wired
from cachecore_llm.wire import OPENAI_CHAT, Call
from tests.llm.upstream.calls import WEATHER, chat, events_of, plain, recorded


class Own:
    """The shortest provider."""

    def __init__(self, name: str = "own", **settings: Any) -> None:
        self.name = name
        self.__dict__.update(settings)
        self.asked: list[Any] = []

    async def generate(self, system_prompt: str, user_message: Any, context: Any = None, **params: Any) -> LLMResponse:
        self.asked.append((system_prompt, user_message, context, params))
        told: LLMResponse = getattr(self, "answer", LLMResponse("Hello there."))
        return told


def _own(**answer: Any) -> PlainProvider:
    return PlainProvider(Own(answer=LLMResponse(**answer)))


class TestIdentity:
    def _endpoint(self, *args: Any, kind: type[Own] = Own, **settings: Any) -> str:
        return wired(kind(*args, **settings)).endpoint

    def test_name_class_and_attributes_tell_providers_apart(self) -> None:
        class Another(Own):
            pass

        made = [
            self._endpoint(),
            self._endpoint("other"),
            self._endpoint(kind=Another),
            self._endpoint(model="a"),
            self._endpoint(model="b"),
            self._endpoint(options={"temperature": 0}),
            self._endpoint(options={"temperature": 1}),
        ]
        assert len(set(made)) == len(made)
        assert self._endpoint(model="a") == made[3]

    def test_what_is_counted_and_remembered_is_no_setting(self) -> None:
        own = Own()
        before = wired(own).endpoint
        own.asked.append("question")
        assert wired(own).endpoint == before

    def test_locks_tasks_and_loggers_are_no_settings(self) -> None:
        machinery: dict[str, Any] = {"gate": asyncio.Event(), "lock": threading.Lock(), "log": logging.getLogger("x")}
        assert self._endpoint(**machinery) == self._endpoint()

    def test_attribute_without_a_canonical_form_is_refused_and_named(self) -> None:
        with pytest.raises(OptionsError, match=r"'client' of type object.*identity"):
            _ = wired(Own(client=object())).endpoint

    def test_identity_stands_for_all_of_it(self) -> None:
        provider = PlainProvider(Own("a", client=object(), identity={"model": "m"}))
        assert (provider.endpoint, provider.identity) == ("", {"model": "m"})
        assert PlainProvider(Own("b", identity="managed")).identity == {}

    def test_slots_count(self) -> None:
        class Slotted:
            __slots__ = ("model", "name")

            def __init__(self, model: str) -> None:
                self.name, self.model = "slotted", model

            async def generate(
                self, system_prompt: str, user_message: str, context: Any = None, **params: Any
            ) -> LLMResponse:
                return LLMResponse("hi")

        assert wired(Slotted("a")).endpoint != wired(Slotted("b")).endpoint


class TestPlainCalls:
    async def test_arguments_are_those_of_the_caller(self) -> None:
        own = Own()
        schema = type("Schema", (), {})
        await PlainProvider(own).send(plain("U", "S", {"doc": 1}, response_format=schema, timeout=5))
        assert own.asked == [("S", "U", {"doc": 1}, {"response_format": schema, "timeout": 5})]

    async def test_all_that_it_said_is_in_the_body(self) -> None:
        answer = _own(
            content="hi",
            model="m",
            usage=Usage(prompt_tokens=3, completion_tokens=2),
            finish_reason="stop",
            tool_calls=(ToolCall(id="1", name="f", arguments="{}"),),
            refusal="no",
        )
        body = await answer.send(plain("U"))
        assert (body["content"], body["model"], body["finish_reason"], body["refusal"]) == ("hi", "m", "stop", "no")
        assert body["usage"]["prompt_tokens"] == 3
        assert body["tool_calls"] == [{"id": "1", "name": "f", "arguments": "{}"}]

    async def test_finish_reason_that_is_an_enum_is_its_name(self) -> None:
        class Finish(IntEnum):
            STOP = 1

        finish: Any = Finish.STOP
        assert (await _own(content="x", finish_reason=finish).send(plain("U")))["finish_reason"] == "STOP"

    async def test_stream_amounts_to_the_whole_answer(self) -> None:
        provider = _own(content="one two", model="m", finish_reason="stop")
        streamed = await recorded(provider, plain("U"))
        assert streamed.complete
        assert streamed.body == await provider.send(plain("U"))

    async def test_text_is_no_answer(self) -> None:
        with pytest.raises(UnusableAnswerError, match="LLMResponse"):
            await PlainProvider(Own(answer="text")).send(plain("U"))

    async def test_other_protocols_are_refused(self) -> None:
        with pytest.raises(UnsupportedRequestError, match=r"openai\.responses"):
            await PlainProvider(Own()).send(Call(protocol="openai.responses", endpoint="", body={}))


class TestChatCalls:
    async def test_messages_become_arguments(self) -> None:
        own = Own()
        call = chat("U", temperature=0, stream=True, stream_options={"include_usage": True})
        earlier = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
        system = {"role": "developer", "content": [{"type": "text", "text": "Be "}, {"type": "text", "text": "brief."}]}
        call.body["messages"] = [system, *earlier, *call.body["messages"]]
        await PlainProvider(own).send(call)
        assert own.asked == [("Be brief.", "U", earlier, {"model": "gpt-local", "temperature": 0})]

    @pytest.mark.parametrize(
        "messages",
        [
            [],
            [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}],
            [{"role": "tool", "tool_call_id": "1", "content": "y"}],
            [{"role": "system", "content": [{"type": "image_url"}]}, {"role": "user", "content": "x"}],
        ],
    )
    async def test_other_shapes_are_refused(self, messages: list[Any]) -> None:
        call = Call(protocol="openai.chat", endpoint="", body={"model": "m", "messages": messages})
        with pytest.raises(UnsupportedRequestError, match="messages"):
            await PlainProvider(Own()).send(call)

    async def test_answer_is_a_completion(self) -> None:
        provider = _own(
            content="",
            model="m",
            usage=Usage(prompt_tokens=3, completion_tokens=2),
            tool_calls=(ToolCall(id="", name="weather", arguments="{}"),),
        )
        facts = OPENAI_CHAT.facts(await provider.send(chat("x", tools=[WEATHER])))
        assert facts.complete
        assert facts.usage is not None
        assert facts.usage.total_tokens == 5
        assert (facts.choices[0].finish, facts.choices[0].tool_calls[0].name) == ("tool_calls", "weather")

    @pytest.mark.parametrize(("said", "finish"), [("end_turn", "stop"), (None, "stop"), ("max_tokens", "length")])
    async def test_finish(self, said: str | None, finish: str) -> None:
        body = await _own(content="x", finish_reason=said).send(chat("x"))
        assert body["choices"][0]["finish_reason"] == finish

    async def test_events_are_chunks(self) -> None:
        provider = _own(content="one two three", finish_reason="stop")
        events = await events_of(provider, chat("x"))
        assert all(event["object"] == "chat.completion.chunk" for event in events)
        streamed = await recorded(provider, chat("x"))
        assert streamed.complete
        assert OPENAI_CHAT.facts(streamed.body or {}).choices[0].text == "one two three"
