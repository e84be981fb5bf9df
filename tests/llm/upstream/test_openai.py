"""`OpenAIProvider` through the real SDK against the local provider: bodies whole and streamed, as they came."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web
from openai import AsyncAzureOpenAI, AsyncOpenAI, BadRequestError, InternalServerError, RateLimitError

from cachecore import OptionsError
from cachecore_llm import OpenAIProvider, UnsupportedRequestError
from cachecore_llm.testing.provider import LocalProvider
from cachecore_llm.upstream import fault_of, wired
from cachecore_llm.upstream.stream_options import StreamOptions
from cachecore_llm.wire import PROTOCOLS, Call, NoStreamError
from tests.llm.upstream.calls import WEATHER, chat, events_of, plain, recorded, timeless

PICTURE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)


def responses(text: str, **body: Any) -> Call:
    return Call(protocol="openai.responses", endpoint="", body={"model": "gpt-local", "input": text, **body})


def embeddings(*texts: str, **body: Any) -> Call:
    return Call(protocol="openai.embeddings", endpoint="", body={"model": "embed", "input": list(texts), **body})


class TestWhole:
    async def test_body_is_what_the_sdk_reads_and_nothing_is_lost(
        self, openai: OpenAIProvider, server: LocalProvider
    ) -> None:
        call = chat("[[say Bonjour]] [[unknown]] [[reasoning long thought]]", temperature=0)
        body = await openai.send(call)
        async with AsyncOpenAI(base_url=server.openai_url, api_key="k") as client:
            direct = await client.chat.completions.create(**call.body)
        assert timeless(body) == timeless(direct.to_dict())
        assert body["choices"][0]["message"]["reasoning_content"] == "long thought"
        assert body["choices"][0]["message"]["vendor_extension"]["score"] == 1

    @pytest.mark.parametrize(
        "more",
        [
            {"tools": [WEATHER], "tool_choice": "required"},
            {"n": 3},
            {"logprobs": True, "top_logprobs": 2},
            {"response_format": {"type": "json_object"}},
            {"metadata": {"user": "7"}},
        ],
        ids=lambda more: next(iter(more)),
    )
    async def test_parameters_reach_the_endpoint(
        self, openai: OpenAIProvider, server: LocalProvider, more: dict[str, Any]
    ) -> None:
        call = chat("Weather in Bonn?", **more)
        body = await openai.send(call)
        assert server.requests[-1].body == call.body
        assert PROTOCOLS["openai.chat"].facts(body).complete

    async def test_pictures(self, openai: OpenAIProvider, server: LocalProvider) -> None:
        parts = [{"type": "text", "text": "[[say a dot]]"}, {"type": "image_url", "image_url": {"url": PICTURE}}]
        body = await openai.send(chat(parts))
        assert body["choices"][0]["message"]["content"] == "a dot"
        assert server.requests[-1].body["messages"][0]["content"] == parts

    async def test_transport_fields_are_no_fields_of_the_body(
        self, openai: OpenAIProvider, server: LocalProvider
    ) -> None:
        await openai.send(chat("hi", timeout=5, max_retries=1, trace_id="t", stream=True, stream_options={}))
        assert set(server.requests[-1].body) == {"model", "messages"}

    async def test_responses_and_embeddings(self, openai: OpenAIProvider) -> None:
        body = await openai.send(responses("[[say Hallo]]"))
        assert PROTOCOLS["openai.responses"].facts(body).choices[0].text == "Hallo"
        body = await openai.send(embeddings("a", "b", dimensions=4))
        assert [len(entry["embedding"]) for entry in body["data"]] == [4, 4]

    async def test_default_model(self, openai: OpenAIProvider, server: LocalProvider) -> None:
        await openai.send(Call(protocol="openai.chat", endpoint="", body={"messages": chat("x").body["messages"]}))
        assert server.requests[-1].body["model"] == "gpt-local"

    async def test_headers_and_query_of_a_call_are_sent(self, server: LocalProvider) -> None:
        async with (
            AsyncOpenAI(base_url=server.openai_url, api_key="k", default_query={"a": "1"}) as client,
            OpenAIProvider("m", client=client) as provider,
        ):
            endpoint = provider.endpoint + "&adapter=7"
            call = Call(protocol="openai.chat", endpoint=endpoint, body=chat("x").body, headers={"x-adapter": "lora"})
            await provider.send(call)
            assert server.requests[-1].headers["x-adapter"] == "lora"

    async def test_header_of_a_call_replaces_that_of_the_client(self, server: LocalProvider) -> None:
        async with AsyncOpenAI(base_url=server.openai_url, api_key="k", default_headers={"X-Adapter": "1"}) as client:
            provider = OpenAIProvider("m", client=client)
            for headers, sent in (({}, "1"), (provider.shaping, "1"), ({"x-adapter": "2"}, "2")):
                await provider.send(Call(protocol="openai.chat", endpoint="", body=chat("x").body, headers=headers))
                assert server.requests[-1].headers["x-adapter"] == sent

    async def test_other_protocols_are_refused(self, openai: OpenAIProvider) -> None:
        call = Call(protocol="anthropic.messages", endpoint="", body={})
        with pytest.raises(UnsupportedRequestError, match=r"anthropic\.messages"):
            await openai.send(call)
        with pytest.raises(NoStreamError):
            await events_of(openai, embeddings("a"))

    def test_is_a_wire_provider(self, openai: OpenAIProvider) -> None:
        assert wired(openai) is openai


class TestStreams:
    @pytest.mark.parametrize(
        ("text", "more"),
        [
            ("[[words 30]]", {}),
            ("Weather in Bonn?", {"tools": [WEATHER], "tool_choice": "required"}),
            ("[[tool:weather {}]] [[tool:weather {}]]", {"tools": [WEATHER]}),
            ("[[reasoning hm]] [[say yes]]", {"n": 2}),
            ("[[refusal no]]", {}),
        ],
    )
    async def test_stream_and_whole_are_one_answer(
        self, openai: OpenAIProvider, text: str, more: dict[str, Any]
    ) -> None:
        call = chat(text, **more)
        whole, streamed = await openai.send(call), await recorded(openai, call)
        assert streamed.complete
        assert streamed.body is not None
        facts = PROTOCOLS["openai.chat"].facts
        kept = [(choice.text, choice.finish, choice.refusal, choice.reasoning) for choice in facts(whole).choices]
        assert [
            (choice.text, choice.finish, choice.refusal, choice.reasoning) for choice in facts(streamed.body).choices
        ] == kept
        assert facts(streamed.body).usage == facts(whole).usage

    async def test_responses(self, openai: OpenAIProvider, server: LocalProvider) -> None:
        call = responses("[[words 20]]")
        streamed = await recorded(openai, call)
        assert streamed.complete
        assert timeless(streamed.body) == timeless(await openai.send(call))
        assert server.requests[0].body["stream_options"] == {"include_obfuscation": False}

    async def test_usage_is_always_asked_for_and_obfuscation_never(
        self, openai: OpenAIProvider, server: LocalProvider
    ) -> None:
        events = await events_of(openai, chat("hi", stream_options={"include_usage": False}))
        assert server.requests[-1].body["stream_options"] == {"include_usage": True, "include_obfuscation": False}
        assert server.requests[-1].body["stream"] is True
        assert events[-1]["usage"]["completion_tokens"] > 0
        assert not any("obfuscation" in event for event in events)

    async def test_endpoint_that_refuses_the_options_is_asked_once_more_without(
        self, openai: OpenAIProvider, server: LocalProvider
    ) -> None:
        """And from then on at once: the refusal is remembered for the endpoint."""
        call = chat("[[compat no-stream-options]] [[say hi]]")
        for _ in range(2):
            assert (await recorded(openai, call)).complete
        assert ["stream_options" in request.body for request in server.requests] == [True, False, False]

    def test_options_are_given_up_one_by_one(self) -> None:
        class Refused(Exception):
            status_code = 400

        options, sent = StreamOptions("openai.chat"), []
        for said in ("Unknown parameter: 'stream_options.include_obfuscation'.", "stream_options?"):
            sent.append(options.added_to({})["stream_options"])
            assert options.refused(Refused(said))
        assert sent == [{"include_usage": True, "include_obfuscation": False}, {"include_usage": True}]
        assert "stream_options" not in options.added_to({"stream_options": {"include_usage": True}})
        assert not options.refused(Refused("stream_options"))
        assert not StreamOptions("openai.chat").refused(Refused("temperature is too high"))

    async def test_other_mistakes_are_not_sent_again(self, openai: OpenAIProvider, server: LocalProvider) -> None:
        with pytest.raises(BadRequestError):
            await events_of(openai, chat("x", n="three"))
        assert server.calls == 1

    async def test_stream_that_is_cut_raises(self, openai: OpenAIProvider) -> None:
        stream = openai.stream(chat("[[words 30]] [[cut 5]]"))
        for _ in range(5):
            await anext(stream)
        with pytest.raises(Exception) as raised:
            await anext(stream)
        assert fault_of(raised.value) == "passing"

    async def test_closing_early_closes_the_connection(self, openai: OpenAIProvider, server: LocalProvider) -> None:
        stream = openai.stream(chat("[[words 30]] [[hang 5]]"))
        await anext(stream)
        await stream.aclose()
        await server.until(lambda: server.active == 0)


class TestPlain:
    """Plain calls reach an endpoint of chat completions in a fallback."""

    async def test_whole(self, openai: OpenAIProvider, server: LocalProvider) -> None:
        body = await openai.send(
            plain("[[reasoning hm]] [[say Hallo]]", "Be brief.", [{"role": "user", "content": "Hi"}], temperature=0)
        )
        sent = server.requests[-1].body
        assert [message["content"] for message in sent["messages"]][:2] == ["Be brief.", "Hi"]
        assert (sent["model"], sent["temperature"]) == ("gpt-local", 0)
        assert (body["content"], body["reasoning"], body["finish_reason"]) == ("Hallo", "hm", "stop")
        assert body["usage"]["completion_tokens"] > 0

    async def test_events_amount_to_the_whole_answer(self, openai: OpenAIProvider) -> None:
        call = plain("[[words 10]]", tools=[WEATHER])
        *texts, end = await events_of(openai, call)
        whole = await openai.send(call)
        assert len(texts) > 5
        assert {"content": "".join(event["text"] for event in texts), **end["end"]} == whole

    async def test_tool_calls(self, openai: OpenAIProvider) -> None:
        body = await openai.send(plain("Weather?", tools=[WEATHER], tool_choice="required"))
        assert body["tool_calls"][0]["name"] == "weather"
        assert body["finish_reason"] == "tool_calls"


@pytest.mark.parametrize(
    ("text", "kind", "fault"),
    [
        ("[[error 400]]", BadRequestError, "caller"),
        ("[[error 429]]", RateLimitError, "passing"),
        ("[[error 503]]", InternalServerError, "passing"),
    ],
)
async def test_errors_are_the_sdks_own(openai: OpenAIProvider, text: str, kind: type[Exception], fault: str) -> None:
    for ask in (openai.send, lambda call: events_of(openai, call)):
        with pytest.raises(kind) as raised:
            await ask(chat(text))
        assert fault_of(raised.value) == fault


class TestIdentity:
    def test_endpoint_has_no_credentials(self) -> None:
        provider = OpenAIProvider("m", base_url="https://user:hunter2@[::1]:8443/v1/?token=t", api_key="sk-1")
        assert provider.endpoint == "https://[::1]:8443/v1"
        assert "sk-1" not in f"{provider.scope}{provider!r}{provider.shaping}"

    def test_scope_tells_credential_organisation_project_and_second_credentials_apart(self) -> None:
        def scope(**options: Any) -> str | None:
            client = AsyncOpenAI(**{"api_key": "a", "base_url": "http://x/v1", **options})
            return OpenAIProvider("m", client=client).scope

        made = [
            scope(),
            scope(api_key="b"),
            scope(organization="o"),
            scope(project="o"),
            scope(default_headers={"Helicone-Auth": "x"}),
            scope(default_query={"subscription-key": "x"}),
        ]
        assert len(set(made)) == 6
        assert scope() == made[0]

    def test_headers_that_shape_answers_are_told(self) -> None:
        client = AsyncOpenAI(
            api_key="a", default_headers={"X-Adapter": "lora-1", "X-Request-Id": "7", "Helicone-Auth": "s"}
        )
        assert OpenAIProvider("m", client=client).shaping == {"x-adapter": "lora-1"}

    def test_credential_that_rotates_needs_a_scope(self) -> None:
        async def key() -> str:
            return "k"

        azure: dict[str, Any] = {"api_version": "2026-01-01", "azure_endpoint": "https://x.openai.azure.com"}
        clients = [
            AsyncOpenAI(api_key=key),
            AsyncAzureOpenAI(azure_ad_token_provider=key, **azure),
            AsyncAzureOpenAI(azure_ad_token="t", **azure),
        ]
        for client in clients:
            with pytest.raises(OptionsError, match="scope="):
                OpenAIProvider("m", client=client)
            assert OpenAIProvider("m", client=client, scope="team").scope == "team"


async def test_azure() -> None:
    """The API version is part of the endpoint, the deployment is the model, and both reach the server."""
    asked: list[tuple[str, str]] = []

    async def handle(request: web.Request) -> web.Response:
        asked.append((request.path_qs, request.headers["api-key"]))
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}}
        return web.json_response({"id": "1", "object": "chat.completion", "model": "m", "choices": [choice]})

    async with (
        _serving(handle) as url,
        AsyncAzureOpenAI(azure_endpoint=url, api_version="2026-01-01", api_key="k") as client,
        OpenAIProvider("my-deployment", client=client) as provider,
    ):
        assert provider.endpoint == f"{url}/openai?api-version=2026-01-01"
        await provider.send(chat("x", model="other-deployment"))
        await provider.send(plain("x", extra_query={"adapter": "7"}))
    version = "api-version=2026-01-01"
    assert asked == [
        (f"/openai/deployments/other-deployment/chat/completions?{version}", "k"),
        (f"/openai/deployments/my-deployment/chat/completions?{version}&adapter=7", "k"),
    ]


class _serving:
    """A server on a free port of the loopback."""

    def __init__(self, handle: Any) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handle)
        self._runner = web.AppRunner(app)

    async def __aenter__(self) -> str:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()


@pytest.mark.parametrize("wrong", [{"temperature": float("nan")}, {"temperature": float("inf")}, {"user": "a\ud800"}])
@pytest.mark.parametrize("way", ["send", "stream"])
async def test_what_json_cannot_hold_is_the_callers_mistake(openai: OpenAIProvider, wrong: Any, way: str) -> None:
    """No outage: no other provider is asked, and no old answer covers it."""
    call = chat("Hi", **wrong)
    with pytest.raises(UnsupportedRequestError, match="JSON") as raised:
        await openai.send(call) if way == "send" else [event async for event in openai.stream(call)]
    assert fault_of(raised.value) == "caller"
