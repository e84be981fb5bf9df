"""Which fault an error is: on the errors that the real SDKs raise, and on those of programs."""

from __future__ import annotations

import json

import anthropic
import httpx
import httpx2
import openai
import pytest

from cachecore import OptionsError, UnkeyableError
from cachecore_llm import OpenAIProvider, ReportedError, UnknownParameterError, UnsupportedRequestError
from cachecore_llm.errors import ProviderTimeoutError, UnusableAnswerError
from cachecore_llm.testing.provider import LocalProvider
from cachecore_llm.upstream import fault_of
from cachecore_llm.upstream.faults import shows_life, status_of
from tests.llm.upstream.calls import chat

STATUSES = {
    "caller": (400, 401, 403, 404, 405, 413, 415, 422),
    "passing": (402, 408, 409, 424, 425, 429, 498, 499, 500, 502, 503, 504, 529),
}


@pytest.mark.parametrize(("status", "fault"), [(status, fault) for fault in STATUSES for status in STATUSES[fault]])
async def test_statuses_through_both_sdks(server: LocalProvider, status: int, fault: str) -> None:
    server.queue(f"[[error {status}]]", f"[[error {status}]]")
    async with (
        openai.AsyncOpenAI(base_url=server.openai_url, api_key="k", max_retries=0) as first,
        anthropic.AsyncAnthropic(base_url=server.url, api_key="k", max_retries=0) as second,
    ):
        with pytest.raises(openai.APIStatusError) as by_openai:
            await first.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}])
        with pytest.raises(anthropic.APIStatusError) as by_anthropic:
            await second.messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": "x"}])
    for error in (by_openai.value, by_anthropic.value):
        assert (status_of(error), fault_of(error), shows_life(error)) == (status, fault, True)


async def test_endpoint_that_cannot_be_reached() -> None:
    provider = OpenAIProvider("m", base_url="http://127.0.0.1:1/v1", api_key="k", max_retries=0)
    async with provider:
        with pytest.raises(openai.APIConnectionError) as raised:
            await provider.send(chat("x"))
    assert fault_of(raised.value) == "passing"
    assert not shows_life(raised.value)


async def test_prompt_that_a_filter_stopped_is_for_another_provider() -> None:
    """Azure answers 400 then; it is no mistake in the request."""
    body = {"error": {"code": "content_filter", "message": "filtered", "param": "prompt", "type": None}}
    transport = httpx2.MockTransport(lambda request: httpx2.Response(400, content=json.dumps(body)))
    client = openai.AsyncOpenAI(
        api_key="k", base_url="http://x/v1", http_client=httpx2.AsyncClient(transport=transport)
    )
    async with client:
        with pytest.raises(openai.BadRequestError) as raised:
            await OpenAIProvider("m", client=client).send(chat("x"))
    assert fault_of(raised.value) == "unusable"


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (TypeError("unexpected keyword argument"), "caller"),
        (AttributeError("clinet"), "caller"),
        (NameError("x"), "caller"),
        (UnsupportedRequestError("x"), "caller"),
        (UnknownParameterError("openai.chat", "temprature"), "caller"),
        (OptionsError("x"), "caller"),
        (UnkeyableError("$.x", "a file"), "caller"),
        (ConnectionRefusedError(), "passing"),
        (TimeoutError(), "passing"),
        (ProviderTimeoutError("p", 1), "passing"),
        (OSError("no route"), "passing"),
        (httpx.ReadTimeout("x"), "passing"),
        (httpx2.ConnectError("x"), "passing"),
        (RuntimeError("an SDK of its own kind"), "passing"),
        (json.JSONDecodeError("no JSON", "<html>", 0), "unusable"),
        (KeyError("choices"), "unusable"),
        (UnusableAnswerError("p", "no choices"), "unusable"),
        (ReportedError("p", 429), "passing"),
        (ReportedError("p", 400, "BadRequestError"), "caller"),
        (ReportedError("p", None, "overloaded_error"), "passing"),
        (ReportedError("p", None, "invalid_request_error"), "caller"),
        (ReportedError("p", None, None, "content_filter"), "unusable"),
        (ReportedError("p"), "passing"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_errors_without_a_status(error: Exception, fault: str) -> None:
    assert fault_of(error) == fault


def test_status_of_an_http_client() -> None:
    response = httpx.Response(503, request=httpx.Request("POST", "http://x"))
    with pytest.raises(httpx.HTTPStatusError) as raised:
        response.raise_for_status()
    assert fault_of(raised.value) == "passing"
