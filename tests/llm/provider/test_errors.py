"""Errors: both SDKs raise the class that they raise for the real services, with status, code and headers."""

from __future__ import annotations

from typing import Any

import anthropic as anthropic_sdk
import openai as openai_sdk
import pytest
from anthropic import Anthropic, AsyncAnthropic
from openai import AsyncOpenAI, OpenAI

from cachecore_llm.testing.provider import LocalProvider
from tests.llm.provider import wire

OPENAI = [
    (400, openai_sdk.BadRequestError, "invalid_request_error"),
    (401, openai_sdk.AuthenticationError, "invalid_request_error"),
    (403, openai_sdk.PermissionDeniedError, "invalid_request_error"),
    (404, openai_sdk.NotFoundError, "invalid_request_error"),
    (409, openai_sdk.ConflictError, "invalid_request_error"),
    (422, openai_sdk.UnprocessableEntityError, "invalid_request_error"),
    (429, openai_sdk.RateLimitError, "requests"),
    (500, openai_sdk.InternalServerError, "server_error"),
    (503, openai_sdk.InternalServerError, "server_error"),
    (529, openai_sdk.InternalServerError, "server_error"),
]
ANTHROPIC = [
    (400, anthropic_sdk.BadRequestError, "invalid_request_error"),
    (401, anthropic_sdk.AuthenticationError, "authentication_error"),
    (403, anthropic_sdk.PermissionDeniedError, "permission_error"),
    (404, anthropic_sdk.NotFoundError, "not_found_error"),
    (429, anthropic_sdk.RateLimitError, "rate_limit_error"),
    (500, anthropic_sdk.InternalServerError, "api_error"),
    (529, anthropic_sdk.InternalServerError, "overloaded_error"),
]


BROKEN = {"image_url": {"url": "data:a/b;base64,!"}}


def hi(text: str) -> Any:
    return [{"role": "user", "content": text}]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("status", "kind", "form"), OPENAI)
async def test_openai_errors(status: int, kind: type[Exception], form: str, stream: bool, openai: AsyncOpenAI) -> None:
    with pytest.raises(kind) as caught:
        await openai.chat.completions.create(model="m", messages=hi(f"[[error {status}]]"), stream=stream)
    error: Any = caught.value
    assert (error.status_code, error.type) == (status, form)
    assert error.request_id.startswith("req_")
    with pytest.raises(kind):
        await openai.responses.create(model="m", input=f"[[error {status}]]", stream=stream)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("status", "kind", "form"), ANTHROPIC)
async def test_anthropic_errors(
    status: int, kind: type[Exception], form: str, stream: bool, anthropic: AsyncAnthropic
) -> None:
    with pytest.raises(kind) as caught:
        await anthropic.messages.create(model="m", max_tokens=9, messages=hi(f"[[error {status}]]"), stream=stream)
    error: Any = caught.value
    assert error.status_code == status
    assert error.body["type"] == "error"
    assert error.body["error"]["type"] == form
    assert error.body["request_id"] == error.response.headers["request-id"]


async def test_a_rate_limit_says_when_to_come_back(openai: AsyncOpenAI, anthropic: AsyncAnthropic) -> None:
    for text, seconds, milliseconds in (
        ("[[error 429]]", "1", None),
        ("[[error 429 retry-after=7]]", "7", None),
        ("[[error 429 retry-after=0.25]]", "1", "250"),
    ):
        with pytest.raises(openai_sdk.RateLimitError) as caught:
            await openai.chat.completions.create(model="m", messages=hi(text))
        headers = caught.value.response.headers
        assert (headers["retry-after"], headers.get("retry-after-ms")) == (seconds, milliseconds)
        with pytest.raises(anthropic_sdk.RateLimitError) as other:
            await anthropic.messages.create(model="m", max_tokens=9, messages=hi(text))
        assert other.value.response.headers["retry-after"] == seconds
    with pytest.raises(openai_sdk.RateLimitError) as caught:
        await openai.chat.completions.create(model="m", messages=hi("[[error 429 kind=insufficient_quota]]"))
    assert (caught.value.code, caught.value.type) == ("insufficient_quota", "insufficient_quota")


async def test_the_sdk_retries_and_is_answered_at_last(provider: LocalProvider) -> None:
    async with AsyncOpenAI(base_url=provider.openai_url, api_key="key", max_retries=2) as client:
        answer = await client.chat.completions.create(
            model="m", messages=hi("[[error 429 retry-after=0.001 times=2]] [[say hello]]")
        )
    assert answer.choices[0].message.content == "hello"
    assert [call.status for call in provider.requests] == [429, 429, 200]
    assert [call.headers["x-stainless-retry-count"] for call in provider.requests] == ["0", "1", "2"]


def test_sync_clients_see_the_same() -> None:
    with LocalProvider() as provider:
        with OpenAI(base_url=provider.openai_url, api_key="key", max_retries=0) as client:
            assert client.responses.create(model="m", input="[[say hello]]").output_text == "hello"
            with client.responses.stream(model="m", input="[[say hello]]") as stream:
                assert stream.get_final_response().output_text == "hello"
            chunks = list(client.chat.completions.create(model="m", messages=hi("[[say hello]]"), stream=True))
            assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "hello"
            assert len(client.embeddings.create(model="m", input="a", dimensions=3).data[0].embedding) == 3
            with pytest.raises(openai_sdk.RateLimitError):
                client.chat.completions.create(model="m", messages=hi("[[error 429]]"))
        with Anthropic(base_url=provider.url, api_key="key", max_retries=0) as other:
            text = other.messages.create(model="m", max_tokens=9, messages=hi("[[say hello]]")).content[0]
            assert text.type == "text"
            assert text.text == "hello"
            with other.messages.stream(model="m", max_tokens=9, messages=hi("[[say hello]]")) as messages:
                assert messages.get_final_text() == "hello"
            with pytest.raises(anthropic_sdk.InternalServerError):
                other.messages.create(model="m", max_tokens=9, messages=hi("[[error 529]]"))


async def test_errors_inside_streams(openai: AsyncOpenAI, anthropic: AsyncAnthropic) -> None:
    """After the first events under status 200 comes the protocol's own error event."""
    seen = []
    with pytest.raises(openai_sdk.APIError, match="had an error while processing"):
        async for chunk in await openai.chat.completions.create(model="m", messages=hi("[[fail 3]]"), stream=True):
            seen.append(chunk)  # noqa: PERF401 - the chunks before the error count
    assert len(seen) == 3
    events = [
        event
        async for event in await openai.responses.create(model="m", input="[[fail 4 rate_limit_exceeded]]", stream=True)
    ]
    last: Any = events[-1]
    assert (len(events), last.type, last.code, last.sequence_number) == (5, "error", "rate_limit_exceeded", 4)
    with pytest.raises(anthropic_sdk.APIStatusError) as caught:
        async for _ in await anthropic.messages.create(model="m", max_tokens=9, messages=hi("[[fail 3]]"), stream=True):
            pass
    body: Any = caught.value.body
    assert body["error"]["type"] == "overloaded_error"


async def test_a_whole_answer_that_fails_is_an_http_error(openai: AsyncOpenAI) -> None:
    with pytest.raises(openai_sdk.InternalServerError):
        await openai.chat.completions.create(model="m", messages=hi("[[fail 3]]"))


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        (wire.CHAT, b"{", 400, "could not parse the JSON body"),
        (wire.CHAT, b"\xff\xfe", 400, "could not parse the JSON body"),
        (wire.CHAT, b"[" * 100_000, 400, "could not parse the JSON body"),
        (wire.CHAT, [], 400, "could not parse the JSON body"),
        (wire.CHAT, {"messages": []}, 400, "'model'"),
        (wire.CHAT, {"model": "m"}, 400, "'messages'"),
        (wire.CHAT, {"model": "m", "messages": []}, 400, "'messages'"),
        (wire.CHAT, {"model": "m", "messages": ["hi"]}, 400, "messages[0]"),
        (wire.CHAT, {"model": "m", "messages": [{"content": "hi"}]}, 400, "messages[0].role"),
        (wire.CHAT, {"model": "m", "messages": hi("a"), "tools": [7]}, 400, "tools[0]"),
        (wire.CHAT, {"model": 7, "messages": hi("a")}, 400, "'model'"),
        (wire.CHAT, {"model": "m", "messages": hi("a"), "n": 0}, 400, "'n'"),
        (wire.CHAT, {"model": "m", "messages": hi("a"), "n": 129}, 400, "'n'"),
        (
            wire.CHAT,
            {"model": "m", "messages": hi("a"), "stream_options": {}},
            400,
            "only allowed when 'stream' is enabled",
        ),
        (
            wire.CHAT,
            {"model": "m", "messages": hi("a"), "tool_choice": {"function": {"name": "x"}}},
            400,
            "'x' not found",
        ),
        (
            wire.CHAT,
            {"model": "m", "messages": hi("a"), "response_format": {"type": "json_schema"}},
            400,
            "json_schema",
        ),
        (wire.CHAT, {"model": "m", "messages": [{"role": "user", "content": [BROKEN]}]}, 400, "base64"),
        (wire.RESPONSES, {"model": "m"}, 400, "'input'"),
        (wire.RESPONSES, {"model": "m", "input": "a", "max_output_tokens": "9"}, 400, "max_output_tokens"),
        (wire.MESSAGES, {"model": "m", "messages": hi("a")}, 400, "max_tokens: Field required"),
        (wire.MESSAGES, {"model": "m", "max_tokens": 9, "messages": []}, 400, "messages"),
        (wire.MESSAGES, {"model": "m", "max_tokens": 9, "messages": [{"role": "tool"}]}, 400, "messages.0.role"),
        ("/v1/nothing", {}, 404, "known are /v1/chat/completions"),
    ],
)
async def test_what_the_services_refuse(path: str, body: Any, status: int, said: str, provider: LocalProvider) -> None:
    got, headers, text = await wire.post(provider.port, path, body)
    assert (got, headers["content-type"]) == (status, "application/json")
    assert said in text.decode()


async def test_keys() -> None:
    async with LocalProvider(api_keys={"good"}) as provider:
        for key, good in (("good", True), ("bad", False)):
            async with AsyncOpenAI(base_url=provider.openai_url, api_key=key) as client:
                if good:
                    await client.chat.completions.create(model="m", messages=hi("a"))
                else:
                    with pytest.raises(openai_sdk.AuthenticationError) as caught:
                        await client.chat.completions.create(model="m", messages=hi("a"))
                    assert caught.value.code == "invalid_api_key"
            async with AsyncAnthropic(base_url=provider.url, api_key=key) as other:
                if good:
                    await other.messages.create(model="m", max_tokens=9, messages=hi("a"))
                else:
                    with pytest.raises(anthropic_sdk.AuthenticationError):
                        await other.messages.create(model="m", max_tokens=9, messages=hi("a"))
        status, _, text = await wire.post(provider.port, wire.CHAT, wire.body_for(wire.CHAT, "a"), authorization="")
        assert (status, b"missing_api_key" in text) == (401, True)
        status, _, _ = await wire.post(
            provider.port, wire.MESSAGES, wire.body_for(wire.MESSAGES, "a"), authorization="", x_api_key="good"
        )
        assert status == 200  # as older SDKs send it
