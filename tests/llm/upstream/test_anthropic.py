"""`AnthropicProvider` through the real SDK against the local provider: messages as they are, chat by translation."""

from __future__ import annotations

from typing import Any

import pytest
from anthropic import AsyncAnthropic, BadRequestError, RateLimitError

from cachecore import OptionsError
from cachecore_llm import AnthropicProvider, FallbackOrchestrator, OpenAIProvider, UnsupportedRequestError
from cachecore_llm.testing.provider import LocalProvider
from cachecore_llm.upstream import fault_of
from cachecore_llm.wire import OPENAI_CHAT, Call
from tests.llm.upstream.calls import WEATHER, chat, events_of, plain, recorded, timeless

PICTURE = "data:image/png;base64,iVBORw0KGgo="


def messages(text: str, **body: Any) -> Call:
    turns = [{"role": "user", "content": text}]
    return Call(
        protocol="anthropic.messages",
        endpoint="",
        body={"model": "claude-local", "max_tokens": 500, "messages": turns, **body},
    )


class TestNative:
    async def test_body_is_what_the_sdk_reads(self, anthropic: AnthropicProvider, server: LocalProvider) -> None:
        call = messages("[[say Bonjour]] [[reasoning hm]] [[unknown]]")
        body = await anthropic.send(call)
        async with AsyncAnthropic(base_url=server.url, api_key="k") as client:
            direct = await client.messages.create(**call.body)
        assert [block["type"] for block in body["content"]] == [block.type for block in direct.content]
        assert timeless(body["usage"]) == timeless(direct.usage.to_dict())
        assert server.requests[0].body == server.requests[1].body == call.body

    @pytest.mark.parametrize("text", ["[[words 30]]", '[[tool:weather {"city": "Bonn"}]]', "[[refusal no]]"])
    async def test_stream_and_whole_are_one_answer(self, anthropic: AnthropicProvider, text: str) -> None:
        call = messages(text, tools=[{"name": "weather", "input_schema": {"type": "object"}}])
        whole, streamed = await anthropic.send(call), await recorded(anthropic, call)
        assert streamed.body is not None
        assert streamed.body["stop_reason"] == whole["stop_reason"]
        assert [block.get("text") for block in streamed.body["content"]] == [
            block.get("text") for block in whole["content"]
        ]

    async def test_betas_are_a_header(self, anthropic: AnthropicProvider, server: LocalProvider) -> None:
        await anthropic.send(messages("x", betas=["a-1", "b-2"], workspace_id="w"))
        sent = server.requests[-1]
        assert "betas" not in sent.body
        assert (sent.headers["anthropic-beta"], sent.headers["anthropic-workspace-id"]) == ("a-1,b-2", "w")

    @pytest.mark.parametrize(("status", "kind"), [(400, BadRequestError), (429, RateLimitError)])
    async def test_errors_are_the_sdks_own(
        self, anthropic: AnthropicProvider, status: int, kind: type[Exception]
    ) -> None:
        for call in (messages(f"[[error {status}]]"), chat(f"[[error {status}]]"), plain(f"[[error {status}]]")):
            with pytest.raises(kind):
                await anthropic.send(call)
            with pytest.raises(kind):
                await events_of(anthropic, call)

    async def test_other_protocols_are_refused(self, anthropic: AnthropicProvider) -> None:
        with pytest.raises(UnsupportedRequestError, match=r"openai\.responses"):
            await anthropic.send(Call(protocol="openai.responses", endpoint="", body={}))


class TestChatRequests:
    async def _sent(self, anthropic: AnthropicProvider, server: LocalProvider, call: Call) -> dict[str, Any]:
        await anthropic.send(call)
        sent: dict[str, Any] = server.requests[-1].body
        return sent

    async def test_conversation_with_tools_and_pictures(
        self, anthropic: AnthropicProvider, server: LocalProvider
    ) -> None:
        call = chat("and now?", tools=[WEATHER], parallel_tool_calls=False, max_completion_tokens=99, stop="END")
        function = {"name": "weather", "arguments": '{"city": "Bonn"}'}
        picture = {"type": "image_url", "image_url": {"url": PICTURE}}
        call.body["messages"] = [
            {"role": "system", "content": "Be brief."},
            {"role": "developer", "content": "In German."},
            {"role": "user", "content": [{"type": "text", "text": "Look:"}, picture]},
            {
                "role": "assistant",
                "content": "Let me see.",
                "tool_calls": [{"id": "c1", "type": "function", "function": function}],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
            {"role": "tool", "tool_call_id": "c2", "content": "cold"},
            *call.body["messages"],
        ]
        source = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
        assert await self._sent(anthropic, server, call) == {
            "model": "gpt-local",
            "max_tokens": 99,
            "stop_sequences": ["END"],
            "system": [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "In German."}],
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "Look:"}, {"type": "image", "source": source}]},
                {
                    "role": "assistant",
                    "content": [
                        {"type": "text", "text": "Let me see."},
                        {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Bonn"}},
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "c1", "content": "sunny"},
                        {"type": "tool_result", "tool_use_id": "c2", "content": "cold"},
                    ],
                },
                {"role": "user", "content": "and now?"},
            ],
            "tools": [{"name": "weather", "input_schema": WEATHER["function"]["parameters"]}],
            "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
        }

    @pytest.mark.parametrize(
        ("given", "made"),
        [
            ({"temperature": 0.5}, {"temperature": 0.5}),
            ({"top_p": 0.5, "timeout": 9}, {"top_p": 0.5}),
            ({"stop": ["a", "b"]}, {"stop_sequences": ["a", "b"]}),
            ({"user": "u"}, {"metadata": {"user_id": "u"}}),
            ({"reasoning_effort": "minimal"}, {"output_config": {"effort": "low"}}),
            ({"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}),
            ({"service_tier": "default"}, {"service_tier": "standard_only"}),
            ({"tools": [WEATHER], "tool_choice": "required"}, {"tool_choice": {"type": "any"}}),
            (
                {"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "weather"}}},
                {"tool_choice": {"type": "tool", "name": "weather"}},
            ),
            (
                {
                    "response_format": {
                        "type": "json_schema",
                        "json_schema": {"name": "n", "schema": {"type": "object"}},
                    }
                },
                {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
            ),
            ({"response_format": {"type": "text"}}, {}),
            ({"n": 1, "logprobs": False, "presence_penalty": 0, "logit_bias": None, "seed": None}, {}),
            ({"metadata": {"a": "b"}, "store": True, "prediction": {}, "prompt_cache_key": "k"}, {}),
        ],
        ids=lambda value: ",".join(value) if isinstance(value, dict) else None,
    )
    async def test_parameters(
        self, anthropic: AnthropicProvider, server: LocalProvider, given: Any, made: dict[str, Any]
    ) -> None:
        sent = await self._sent(anthropic, server, chat("x", **given))
        assert sent.pop("tools", None) or "tools" not in given
        assert sent == {
            "model": "gpt-local",
            "max_tokens": 8192,
            "messages": [{"role": "user", "content": "x"}],
            **made,
        }

    @pytest.mark.parametrize(
        ("given", "named"),
        [
            ({"seed": 7}, "seed"),
            ({"n": 2}, "n "),
            ({"temperature": 1.5}, "temperature"),
            ({"frequency_penalty": 0.5}, "frequency_penalty"),
            ({"logprobs": True}, "logprobs"),
            ({"response_format": {"type": "json_object"}}, "response_format"),
            ({"modalities": ["text", "audio"]}, "modalities"),
            ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, r"tools\[0\]"),
            ({"tool_choice": {"type": "allowed_tools"}}, "tool_choice"),
            ({"functions": [{"name": "x"}]}, "functions"),
            ({"web_search_options": {}}, "web_search_options"),
            ({"a_new_field": 1}, "a_new_field"),
            ({"service_tier": "flex"}, "service_tier"),
        ],
        ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
    )
    async def test_what_has_no_equal_is_an_error_that_names_it(
        self, anthropic: AnthropicProvider, server: LocalProvider, given: Any, named: str
    ) -> None:
        with pytest.raises(UnsupportedRequestError, match=named) as raised:
            await anthropic.send(chat("x", **given))
        assert fault_of(raised.value) == "caller"
        assert server.calls == 0

    @pytest.mark.parametrize(
        "message",
        [
            {"role": "system", "content": "later"},
            {"role": "function", "name": "f", "content": "x"},
            {"role": "user", "name": "Ann", "content": "x"},
            {"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]},
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": PICTURE, "detail": "low"}}]},
            {"role": "user", "content": [{"type": "file", "file": {"file_id": "f1"}}]},
            {"role": "assistant", "tool_calls": [{"id": "1", "type": "custom", "custom": {}}]},
            {
                "role": "assistant",
                "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{"}}],
            },
        ],
    )
    async def test_messages_without_an_equal(self, anthropic: AnthropicProvider, message: dict[str, Any]) -> None:
        call = chat("x")
        call.body["messages"].append(message)
        with pytest.raises(UnsupportedRequestError, match=r"messages\[1\]"):
            await anthropic.send(call)

    async def test_fields_can_be_dropped_by_name_and_the_endpoint_says_so(self, server: LocalProvider) -> None:
        def made(**options: Any) -> AnthropicProvider:
            return AnthropicProvider("m", base_url=server.url, api_key="k", max_retries=0, **options)

        async with made(drop=("seed",), max_tokens=77) as provider, made() as strict:
            await provider.send(chat("x", seed=1))
            assert server.requests[-1].body["max_tokens"] == 77
            assert provider.endpoint == f"{server.url}#max_tokens=77&drop=seed"
            assert provider.endpoint != strict.endpoint


ANSWERS: dict[str, tuple[str, dict[str, Any]]] = {
    "text": ("[[words 25]]", {}),
    "reasoning": ("[[reasoning a long thought]] [[say yes]]", {}),
    "tools": ('[[tool:weather {"city": "Bonn"}]] [[tool:weather {}]]', {"tools": [WEATHER]}),
    "length": ("[[words 50]]", {"max_tokens": 7}),
    "stop": ("[[say one two three]]", {"stop": "two"}),
    "cached": ("[[usage cached=5 cache-write=3]] [[say hi]]", {}),
}


class TestChatAnswers:
    @pytest.mark.parametrize("kind", ANSWERS)
    async def test_stream_and_whole_are_one_answer(self, anthropic: AnthropicProvider, kind: str) -> None:
        text, more = ANSWERS[kind]
        call = chat(text, **more)
        whole, streamed = await anthropic.send(call), await recorded(anthropic, call)
        assert streamed.complete
        assert streamed.whole
        assert streamed.body is not None
        facts, again = OPENAI_CHAT.facts(whole), OPENAI_CHAT.facts(streamed.body)

        def said(choice: Any) -> Any:
            calls = [(call.name, call.arguments.replace(" ", "")) for call in choice.tool_calls]
            return choice.text, choice.reasoning, choice.finish, choice.refusal, calls

        assert said(again.choices[0]) == said(facts.choices[0])
        assert again.usage == facts.usage
        assert (facts.model, again.model) == ("gpt-local-20260101", "gpt-local-20260101")

    async def test_facts(self, anthropic: AnthropicProvider) -> None:
        async def facts(kind: str) -> Any:
            text, more = ANSWERS[kind]
            return OPENAI_CHAT.facts(await anthropic.send(chat(text, **more)))

        found = {kind: (await facts(kind)).choices[0] for kind in ANSWERS}
        assert {kind: choice.finish for kind, choice in found.items()} == {
            **dict.fromkeys(ANSWERS, "stop"),
            "tools": "tool_calls",
            "length": "length",
        }
        assert [(call.name, call.arguments) for call in found["tools"].tool_calls] == [
            ("weather", '{"city":"Bonn"}'),
            ("weather", "{}"),
        ]
        assert found["reasoning"].reasoning == "a long thought"
        usage = (await facts("cached")).usage
        assert (usage.cached_input_tokens, usage.cache_write_tokens) == (5, 3)

    async def test_refusal(self, anthropic: AnthropicProvider) -> None:
        call = chat("[[refusal I cannot help.]]")
        choice = OPENAI_CHAT.facts(await anthropic.send(call)).choices[0]
        assert (choice.finish, choice.refusal) == ("refusal", "I cannot help.")
        streamed = (await recorded(anthropic, call)).body
        assert OPENAI_CHAT.facts(streamed or {}).choices[0].refusal == "I cannot help."

    @pytest.mark.parametrize("end", ["[[end 6]]", "[[fail 6]]"])
    async def test_stream_that_did_not_end_is_not_complete(self, anthropic: AnthropicProvider, end: str) -> None:
        assert not (await recorded(anthropic, chat(f"[[words 30]] {end}"))).complete

    async def test_plain(self, anthropic: AnthropicProvider) -> None:
        call = plain("[[reasoning hm]] [[say Hallo]]", "Be brief.", "Context.", max_tokens=50)
        body = await anthropic.send(call)
        assert (body["content"], body["reasoning"], body["finish_reason"]) == ("Hallo", "hm", "stop")
        assert (await recorded(anthropic, call)).body == body

    async def test_in_place_of_openai(
        self, openai: OpenAIProvider, anthropic: AnthropicProvider, server: LocalProvider
    ) -> None:
        """With a model map the name that a call asks for survives the fallback, whole and streamed."""
        orchestrator = FallbackOrchestrator(
            [openai, anthropic], models={"anthropic": {"gpt-local": "claude-large", "*": "claude-small"}}
        )
        server.queue("[[error 503]]")
        sent = await orchestrator.send(chat("[[say hi]]"))
        assert (sent.provider, OPENAI_CHAT.facts(sent.body).choices[0].text) == ("anthropic", "hi")
        server.queue("[[error 503]]")
        stream = orchestrator.stream(chat("[[say hi]]", model="gpt-other"))
        kinds = {event["object"] async for event in stream}
        assert (stream.provider, kinds) == ("anthropic", {"chat.completion.chunk"})
        asked = [request.body["model"] for request in server.requests if request.protocol == "anthropic.messages"]
        assert asked == ["claude-large", "claude-small"]


class TestIdentity:
    def test_credentials(self) -> None:
        made = [AnthropicProvider("m", api_key=key).scope for key in ("a", "b", "a")]
        assert made[0] == made[2] != made[1]
        assert AnthropicProvider("m", api_key="sk-1", scope="team").scope == "team"
        assert "sk-1" not in repr(AnthropicProvider("m", api_key="sk-1"))

    def test_headers_that_shape_answers(self) -> None:
        client = AsyncAnthropic(api_key="k", default_headers={"anthropic-beta": "b-1"})
        shaping = AnthropicProvider("m", client=client).shaping
        assert shaping["anthropic-beta"] == "b-1"
        assert set(shaping) == {"anthropic-beta", "anthropic-version"}

    def test_credential_that_rotates_needs_a_scope(self) -> None:
        async def token(**_: Any) -> Any:
            raise AssertionError("not asked")

        provider: Any = token
        client = AsyncAnthropic(credentials=provider)
        with pytest.raises(OptionsError, match="scope="):
            AnthropicProvider("m", client=client)
        assert AnthropicProvider("m", client=client, scope="team").scope == "team"

    @pytest.mark.parametrize("wrong", [{"max_tokens": 0}, {"max_tokens": True}, {"drop": "seed"}])
    def test_wrong_settings(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(OptionsError, match=next(iter(wrong))):
            AnthropicProvider("m", api_key="k", **wrong)
