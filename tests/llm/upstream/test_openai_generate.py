"""`OpenAIProvider` against a local HTTP server that speaks the wire format of chat completions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest
from aiohttp import web
from typer.testing import CliRunner

from cachecore import cli
from cachecore_llm import (
    AllProvidersFailedError,
    CacheConfig,
    FallbackOrchestrator,
    LLMService,
    OpenAIProvider,
    ResponseCache,
    ToolCall,
    UnknownParameterError,
    UnsupportedRequestError,
    UnusableAnswerError,
    Usage,
)


def completion(message: dict[str, Any] | None = None, finish_reason: str = "stop") -> dict[str, Any]:
    """Return a body as the API documents it."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "gpt-test-2026-01-01",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Paris.", "refusal": None, **(message or {})},
                "logprobs": None,
                "finish_reason": finish_reason,
            }
        ],
        "usage": {"prompt_tokens": 12, "completion_tokens": 2, "total_tokens": 14},
    }


class Endpoint:
    """A chat-completions endpoint on a free loopback port: answers what it is told, and keeps what it was sent."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.status = 200
        self.reply: Any = completion()
        self.text: str | None = None
        self.gate: asyncio.Event | None = None
        self.reached = asyncio.Event()
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        self.bodies.append(await request.json())
        self.reached.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.text is not None:
            return web.Response(text=self.text, status=self.status, content_type="application/json")
        return web.json_response(self.reply, status=self.status)


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    made = Endpoint()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", made.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    made.url = f"http://{host}:{port}/v1"
    yield made
    if made.gate is not None:
        made.gate.set()
    await runner.cleanup()


@pytest.fixture
async def provider(endpoint: Endpoint) -> AsyncIterator[OpenAIProvider]:
    async with OpenAIProvider("gpt-test", base_url=endpoint.url, api_key="sk-test", max_retries=0) as made:
        yield made


async def test_answer_is_read_whole(provider: OpenAIProvider) -> None:
    answer = await provider.generate("You are helpful.", "Capital of France?")
    assert (answer.content, answer.model, answer.provider) == ("Paris.", "gpt-test-2026-01-01", "openai")
    assert (answer.finish_reason, answer.usage) == ("stop", Usage(prompt_tokens=12, completion_tokens=2))
    assert answer.refusal is None
    assert answer.tool_calls == ()


async def test_request_is_sent_as_the_wire_format_wants_it(provider: OpenAIProvider, endpoint: Endpoint) -> None:
    """Parameters and those of extra_body are fields of the body, transport fields are not, headers are headers."""
    await provider.generate(
        "You are helpful.",
        "Hi!",
        temperature=0.2,
        extra_body={"top_k": 3, "min_p": 0.05},
        extra_headers={"x-request-id": "r-1"},
        request_id="r-2",
        stream=False,
    )
    assert endpoint.bodies == [
        {
            "model": "gpt-test",
            "messages": [{"role": "system", "content": "You are helpful."}, {"role": "user", "content": "Hi!"}],
            "temperature": 0.2,
            "top_k": 3,
            "min_p": 0.05,
        }
    ]
    assert endpoint.headers[0]["authorization"] == "Bearer sk-test"
    assert endpoint.headers[0]["x-request-id"] == "r-1"


@pytest.mark.parametrize(
    ("wrong", "nearest"), [("temprature", "temperature"), ("ttl", None), ("max_token", "max_tokens")]
)
async def test_parameters_that_do_not_exist_are_not_sent(
    provider: OpenAIProvider, endpoint: Endpoint, wrong: str, nearest: str | None
) -> None:
    with pytest.raises(UnknownParameterError, match=f"'{wrong}'.*extra_body") as raised:
        await provider.generate("S", "U", **{wrong: 1})
    assert raised.value.nearest == nearest
    assert nearest is None or f"did you mean '{nearest}'?" in str(raised.value)
    assert endpoint.bodies == []


@pytest.mark.parametrize(
    ("context", "between"),
    [
        (None, []),
        ([], []),
        ("Paris is in France.", [{"role": "system", "content": "Paris is in France."}]),
        ({"b": 1, "a": "é"}, [{"role": "system", "content": '{"a": "é", "b": 1}'}]),
        (["doc 1", "doc 2"], [{"role": "system", "content": '["doc 1", "doc 2"]'}]),
        (
            [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}],
            [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}],
        ),
    ],
)
async def test_context_goes_between(
    provider: OpenAIProvider, endpoint: Endpoint, context: Any, between: list[dict[str, Any]]
) -> None:
    await provider.generate("S", "U", context, model="gpt-other")
    sent = endpoint.bodies[0]
    assert sent["messages"] == [{"role": "system", "content": "S"}, *between, {"role": "user", "content": "U"}]
    assert sent["model"] == "gpt-other"


async def test_tool_calls(provider: OpenAIProvider, endpoint: Endpoint) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}
    endpoint.reply = completion({"content": None, "tool_calls": [call]}, "tool_calls")
    answer = await provider.generate("S", "U", tools=[{"type": "function", "function": {"name": "weather"}}])
    assert answer.content == ""
    assert answer.tool_calls == (ToolCall(id="call_1", name="weather", arguments='{"city": "Paris"}'),)


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (completion(finish_reason="length"), "truncated"),
        (completion({"content": None}, finish_reason="content_filter"), "filtered"),
        (completion({"content": None, "refusal": "I won't."}), "refused"),
        (completion({"content": ""}), "empty"),
        (completion({"content": "I'm sorry, but I can't assist with that."}), "refused"),
    ],
)
async def test_unfit_answers_are_returned_but_not_stored(
    provider: OpenAIProvider, endpoint: Endpoint, reply: dict[str, Any], why: str
) -> None:
    endpoint.reply = reply
    async with ResponseCache("memory://") as cache:
        service = LLMService(provider, cache)
        await service.generate("S", "U")
        await service.generate("S", "U")
        assert cache.metrics.rejected == {why: 2}
    assert len(endpoint.bodies) == 2


async def _raised(provider: OpenAIProvider, endpoint: Endpoint, status: int) -> Exception:
    endpoint.status = status
    endpoint.reply = {"error": {"message": "no", "type": "error", "param": None, "code": None}}
    with pytest.raises(Exception) as raised:
        await FallbackOrchestrator([provider]).generate("S", "U")
    return raised.value


@pytest.mark.parametrize(
    ("status", "kind"),
    [(429, openai.RateLimitError), (500, openai.InternalServerError), (503, openai.InternalServerError)],
)
async def test_outages_of_the_api_are_failures(
    provider: OpenAIProvider, endpoint: Endpoint, status: int, kind: type[Exception]
) -> None:
    error = await _raised(provider, endpoint, status)
    assert isinstance(error, AllProvidersFailedError)
    assert isinstance(error.causes[0], kind)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, openai.BadRequestError), (401, openai.AuthenticationError), (404, openai.NotFoundError)],
)
async def test_mistakes_of_the_caller_are_raised_as_they_are(
    provider: OpenAIProvider, endpoint: Endpoint, status: int, kind: type[Exception]
) -> None:
    assert type(await _raised(provider, endpoint, status)) is kind


@pytest.mark.parametrize(
    "text",
    ['{"id": "x", "object": "chat.completion", "choices": []}', '{"choices": null}', '{"error": {"message": "busy"}}',
     '{"choices": [{"index": 0, "finish_reason": "stop"}]}',
     '{"choices": [{"message": {"content": 42, "role": "assistant"}}]}'],
)  # fmt: skip
async def test_completions_without_an_answer_are_failures(
    provider: OpenAIProvider, endpoint: Endpoint, text: str
) -> None:
    """Some gateways answer 200 with an error in the body: that is no empty answer."""
    endpoint.text = text
    with pytest.raises(UnusableAnswerError):
        await provider.generate("S", "U")


@pytest.mark.parametrize("text", ["not json", "[]", '"text"', ""])
async def test_bodies_that_are_no_completion_are_failures(
    provider: OpenAIProvider, endpoint: Endpoint, text: str
) -> None:
    endpoint.text = text
    with pytest.raises(AllProvidersFailedError):
        await FallbackOrchestrator([provider]).generate("S", "U")


async def test_hung_endpoint_falls_back(provider: OpenAIProvider, endpoint: Endpoint) -> None:
    endpoint.gate = asyncio.Event()
    async with OpenAIProvider(
        "gpt-test", name="nobody", base_url="http://127.0.0.1:1/v1", api_key="k", max_retries=0
    ) as dead:
        with pytest.raises(AllProvidersFailedError) as raised:
            await FallbackOrchestrator([provider, dead], timeouts={"openai": 1.0}).generate("S", "U")
    assert endpoint.reached.is_set()
    assert [type(cause).__name__ for cause in raised.value.causes] == ["ProviderTimeoutError", "APIConnectionError"]


@pytest.mark.parametrize("params", [{"stream": True}, {"n": 2}, {"logprobs": True}, {"audio": {"voice": "x"}}])
async def test_what_would_be_lost_is_refused(
    provider: OpenAIProvider, endpoint: Endpoint, params: dict[str, Any]
) -> None:
    with pytest.raises(UnsupportedRequestError, match=next(iter(params))):
        await provider.generate("S", "U", **params)
    assert endpoint.bodies == []


async def test_model_and_endpoint_are_in_the_key(endpoint: Endpoint) -> None:
    """Another default model or another endpoint does not get this one's answers."""
    async with ResponseCache("memory://", CacheConfig(similar=False)) as cache:
        for model, url in [("a", endpoint.url), ("b", endpoint.url), ("a", endpoint.url + "/"), ("a", endpoint.url)]:
            async with OpenAIProvider(model, base_url=url, api_key="k", max_retries=0) as provider:
                await LLMService(provider, cache).generate("S", "U")
        assert len(endpoint.bodies) == 2
        other = endpoint.url.replace("127.0.0.1", "localhost")
        async with OpenAIProvider("a", base_url=other, api_key="k", max_retries=0) as provider:
            await LLMService(provider, cache).generate("S", "U")
        assert len(endpoint.bodies) == 3


async def test_credentials_are_not_shown(endpoint: Endpoint) -> None:
    async with OpenAIProvider(
        "m", base_url=endpoint.url.replace("//", "//user:hunter2@"), api_key="sk-1234"
    ) as provider:
        shown = f"{provider!r} {provider.identity}"
        assert "sk-1234" not in shown
        assert "hunter2" not in shown


async def test_replay_through_the_real_wire_format(
    endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`cachecore replay --provider openai` asks the endpoint of the environment, once for each question."""
    monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    log = tmp_path / "log.jsonl"
    log.write_text('{"system_prompt": "S", "user_message": "U", "params": {"temperature": 0, "stream": true}}\n' * 3)
    arguments = ["replay", str(log), "--provider", "openai", "--model", "gpt-test", "--backend", "memory://"]
    result = await asyncio.to_thread(CliRunner().invoke, cli.app(), [*arguments, "--concurrency", "1", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["requests"], found["provider_calls"], found["hits"], found["simulated"]) == (3, 1, 2, False)
    assert endpoint.bodies[0]["temperature"] == 0


async def test_replay_without_a_key_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    log = tmp_path / "log.jsonl"
    log.write_text('{"system_prompt": "S", "user_message": "U"}\n')
    arguments = ["replay", str(log), "--provider", "openai", "--model", "gpt-test", "--backend", "memory://"]
    result = await asyncio.to_thread(CliRunner().invoke, cli.app(), arguments)
    assert result.exit_code == 2
    assert "OPENAI_API_KEY" in result.stderr
    assert "Traceback" not in result.output


async def test_callers_client_stays_open(endpoint: Endpoint) -> None:
    async with openai.AsyncOpenAI(base_url=endpoint.url, api_key="k") as client:
        async with OpenAIProvider("m", client=client) as provider:
            await provider.generate("S", "U")
        assert not client.is_closed()
