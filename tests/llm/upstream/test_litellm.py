"""`LiteLLMProvider` through LiteLLM itself against the local provider, in two of its services' protocols."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from cachecore import OptionsError
from cachecore_llm import UnsupportedRequestError
from cachecore_llm.testing.provider import LocalProvider
from cachecore_llm.upstream import fault_of
from cachecore_llm.wire import OPENAI_CHAT, Call, NoStreamError
from tests.llm.upstream.calls import WEATHER, chat, events_of, plain, recorded

pytestmark = pytest.mark.filterwarnings("ignore")  # LiteLLM uses what pydantic has deprecated


@pytest.fixture(scope="module")
def provider_class() -> Any:
    pytest.importorskip("litellm", reason="needs litellm")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from cachecore_llm import LiteLLMProvider
    return LiteLLMProvider


@pytest.fixture(scope="module", autouse=True)
def _offline() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        yield


@pytest.fixture(params=["openai", "anthropic"])
async def provider(request: pytest.FixtureRequest, provider_class: Any, server: LocalProvider) -> Any:
    base = {"openai": server.openai_url, "anthropic": server.url}[request.param]
    return provider_class(f"{request.param}/gpt-local", api_base=base, api_key="k", max_retries=0)


def asked(text: str, **body: Any) -> Call:
    call = chat(text, **body)
    del call.body["model"]
    return call


async def test_whole_and_streamed_are_one_answer(provider: Any) -> None:
    call = asked("[[words 12]]")
    whole, streamed = OPENAI_CHAT.facts(await provider.send(call)), await recorded(provider, call)
    assert whole.complete
    assert streamed.complete
    again = OPENAI_CHAT.facts(streamed.body or {})
    assert again.choices[0].text == whole.choices[0].text != ""
    assert whole.usage is not None
    assert again.usage == whole.usage


async def test_reasoning_and_tools(provider: Any, server: LocalProvider) -> None:
    thought = await provider.send(asked("[[reasoning hm]] [[say hi]]"))
    assert OPENAI_CHAT.facts(thought).choices[0].reasoning == "hm"
    call = asked('[[tool:weather {"city": "Bonn"}]]', tools=[WEATHER])
    for facts in (
        OPENAI_CHAT.facts(await provider.send(call)),
        OPENAI_CHAT.facts((await recorded(provider, call)).body or {}),
    ):
        assert facts.choices[0].finish == "tool_calls"
        assert facts.choices[0].tool_calls[0].arguments.replace(" ", "") == '{"city":"Bonn"}'


async def test_plain(provider: Any) -> None:
    body = await provider.send(plain("[[say Hallo]]", "Be brief.", max_tokens=50))
    assert (body["content"], body["finish_reason"]) == ("Hallo", "stop")


@pytest.mark.parametrize("broken", ["[[end 5]]", "[[cut 5]]", "[[fail 5]]"])
async def test_stream_that_breaks_off_raises(provider: Any, broken: str) -> None:
    with pytest.raises(Exception) as raised:
        await events_of(provider, asked(f"[[words 20]] {broken}"))
    assert fault_of(raised.value) == "passing"


@pytest.mark.parametrize(
    ("status", "fault"), [(400, "caller"), (401, "caller"), (404, "caller"), (429, "passing"), (503, "passing")]
)
async def test_faults(provider: Any, status: int, fault: str) -> None:
    for ask in (provider.send, lambda call: events_of(provider, call)):
        with pytest.raises(Exception) as raised:
            await ask(asked(f"[[error {status}]]"))
        assert fault_of(raised.value) == fault


async def test_embeddings(provider_class: Any, server: LocalProvider) -> None:
    provider = provider_class("openai/embed", api_base=server.openai_url, api_key="k", max_retries=0)
    call = Call(protocol="openai.embeddings", endpoint="", body={"input": ["a", "b"], "encoding_format": "float"})
    body = await provider.send(call)
    assert [len(entry["embedding"]) > 0 for entry in body["data"]] == [True, True]
    with pytest.raises(NoStreamError):
        await events_of(provider, call)


async def test_headers_are_sent_and_a_query_is_refused(provider_class: Any, server: LocalProvider) -> None:
    provider = provider_class("openai/m", api_base=server.openai_url, api_key="k", max_retries=0)
    call = Call(protocol="openai.chat", endpoint="", body=asked("x").body, headers={"x-adapter": "7"})
    await provider.send(call)
    assert server.requests[-1].headers["x-adapter"] == "7"
    with pytest.raises(UnsupportedRequestError, match="extra_query"):
        await provider.send(Call(protocol="openai.chat", endpoint=provider.endpoint + "?a=1", body=call.body))
    with pytest.raises(UnsupportedRequestError, match=r"openai\.responses"):
        await provider.send(Call(protocol="openai.responses", endpoint="", body={}))


def test_a_model_without_a_name_is_refused(provider_class: Any) -> None:
    with pytest.raises(OptionsError, match=r"model must be the name of a model, such as 'groq/.*', not None"):
        provider_class(None)


def test_identity(provider_class: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROQ_API_KEY", "a")
    first = provider_class("groq/m").scope
    monkeypatch.setenv("GROQ_API_KEY", "b")
    assert provider_class("groq/m").scope != first
    assert provider_class("groq/m", api_key="a").scope == first
    assert provider_class("groq/m").endpoint == "litellm:groq"
    with pytest.raises(OptionsError, match="scope="):
        provider_class("bedrock/m")
    assert provider_class("bedrock/m", scope="team").scope == "team"
