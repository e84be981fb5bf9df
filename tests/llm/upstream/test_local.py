"""The local model says what the local provider says over HTTP, in every protocol."""

from __future__ import annotations

from typing import Any

import pytest

from cachecore_llm import AnthropicProvider, LocalModel, OpenAIProvider
from cachecore_llm.testing.provider import LocalProvider
from cachecore_llm.upstream import fault_of
from cachecore_llm.wire import PROTOCOLS, Call, NoStreamError
from tests.llm.upstream.calls import WEATHER, chat, events_of, plain, recorded, timeless

MESSAGES = [{"role": "user", "content": "[[reasoning hm]] [[words 9]]"}]
CALLS = {
    "chat": chat("[[reasoning hm]] [[words 9]]"),
    "tools": chat("Weather?", tools=[WEATHER], tool_choice="required"),
    "responses": Call(protocol="openai.responses", endpoint="", body={"model": "m", "input": "[[words 9]]"}),
    "messages": Call(
        protocol="anthropic.messages", endpoint="", body={"model": "m", "max_tokens": 99, "messages": MESSAGES}
    ),
    "embeddings": Call(protocol="openai.embeddings", endpoint="", body={"model": "m", "input": ["a", "b"]}),
    "plain": plain("[[words 9]]", "Be brief.", model="gpt-local"),
}


@pytest.mark.parametrize("kind", CALLS)
async def test_says_what_the_server_says(kind: str, openai: OpenAIProvider, anthropic: AnthropicProvider) -> None:
    call = CALLS[kind]
    over_http: Any = anthropic if call.protocol == "anthropic.messages" else openai
    said = [timeless(await provider.send(call)) for provider in (LocalModel(), over_http)]
    for body in said:
        for block in body.get("content") or ():
            isinstance(block, dict) and block.pop("signature", None)  # new in each answer
    assert said[0] == said[1]


@pytest.mark.parametrize("kind", sorted(set(CALLS) - {"embeddings"}))
async def test_stream_amounts_to_the_whole_answer(kind: str) -> None:
    model, call = LocalModel(), CALLS[kind]
    streamed = await recorded(model, call)
    assert streamed.complete
    facts = PROTOCOLS[call.protocol].facts
    whole, again = facts(await model.send(call)), facts(streamed.body or {})
    assert again.choices[0].text == whole.choices[0].text
    assert again.usage == whole.usage


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[[error 400]]", "caller"),
        ("[[error 503]]", "passing"),
        ("[[fail 0]]", "passing"),
        ("[[cut]]", "passing"),
        ("[[no-such-directive]]", "caller"),
    ],
)
async def test_faults(text: str, fault: str) -> None:
    with pytest.raises(Exception) as raised:
        await LocalModel().send(chat(text))
    assert fault_of(raised.value) == fault


async def test_error_that_passes() -> None:
    model, call = LocalModel(), chat("[[error 503 times=1]] [[say hi]]")
    with pytest.raises(Exception, match="503"):
        await model.send(call)
    assert (await model.send(call))["choices"][0]["message"]["content"] == "hi"


async def test_streams_break_off_where_they_are_told_to() -> None:
    model = LocalModel()
    assert len(await events_of(model, chat("[[words 9]] [[end 3]]"))) == 3
    assert (await events_of(model, chat("[[words 9]] [[fail 3]]")))[-1]["error"]
    with pytest.raises(ConnectionError):
        await events_of(model, chat("[[words 9]] [[cut 3]]"))
    with pytest.raises(NoStreamError):
        await events_of(model, CALLS["embeddings"])


async def test_waits_as_told() -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    await events_of(LocalModel(sleep=sleep), chat("[[delay 2]] [[pace 0.5]] [[say one]]"))
    assert waits[0] == 2
    assert set(waits[1:]) == {0.5}


async def test_default_model(server: LocalProvider) -> None:
    body = await LocalModel("my-model").send(Call(protocol="openai.chat", endpoint="", body={"messages": MESSAGES}))
    assert body["model"].startswith("my-model")
    assert (await LocalModel().generate("", "[[say hi]]")).content == "hi"
