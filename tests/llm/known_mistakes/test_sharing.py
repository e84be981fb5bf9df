"""Answers that several callers get: no caller can change another's copy, or read another's personal fields."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import anthropic
import openai
import pytest

from cachecore_llm import AllProvidersFailedError, LLMService, OpenAIProvider, ResponseCache
from cachecore_llm.sdk import async_cached_client
from cachecore_llm.testing.provider import LocalProvider
from tests.llm.known_mistakes.faces import LIVE, Face, Request, choice_in, streamed, text_of

Joined = list[dict[str, Any]]
NAMES = ("ann", "bob", "cleo")


async def _all_at_once(face: Face, provider: LocalProvider, requests: list[Request], way: str) -> Joined:
    """Return the answers of callers that share one call."""
    provider.hold(after=4)
    ask = face.whole if way == "whole" else lambda request: streamed(face, request)
    asked = [asyncio.create_task(ask(request)) for request in requests]
    await provider.until(lambda: provider.held == 1)
    for _ in range(50):
        await asyncio.sleep(0)  # the others join; one that came later still would find the answer stored
    provider.release()
    return list(await asyncio.gather(*asked))


def _spoil(value: Any) -> None:
    """Change everything in a JSON value that can be changed."""
    if isinstance(value, dict):
        for inner in value.values():
            _spoil(inner)
        value.clear()
    elif isinstance(value, list):
        for inner in value:
            _spoil(inner)
        value.clear()


@pytest.mark.parametrize("way", ["whole", "streamed"])
async def test_changes_of_one_caller_reach_no_other(live: Face, provider: LocalProvider, way: str) -> None:
    """Callers that joined, and later ones: each has objects of its own."""
    made = await _all_at_once(live, provider, [Request(tool="by city")] * 3, way)
    text = choice_in(live, made[1]).text
    assert text
    _spoil(made[0])
    assert [choice_in(live, body).text for body in made[1:]] == [text, text]
    for _ in range(2):
        body = await live.whole(Request(tool="by city"))
        assert choice_in(live, body).text == text
        _spoil(body)
    async for event in live.events(Request(tool="by city")):
        _spoil(event)
    assert choice_in(live, await streamed(live, Request(tool="by city"))).text == text
    assert provider.calls == 1


async def test_an_answer_of_the_service_cannot_be_changed(provider: LocalProvider, answers: ResponseCache) -> None:
    """`LLMResponse` is frozen all through; its `body` is read anew at each call."""
    async with OpenAIProvider("m", base_url=provider.openai_url, api_key="k") as model:
        service = LLMService(model, answers)
        answer = await service.generate("", '[[tool:weather {"city": "Rome"}]] Hi')
        for change in ("content", "tool_calls", "usage"):
            with pytest.raises(AttributeError):
                setattr(answer, change, None)
        assert isinstance(answer.tool_calls, tuple)
        with pytest.raises(AttributeError):
            answer.tool_calls[0].arguments = "{}"  # type: ignore[misc]  # the mistake itself
        assert answer.body is not None
        answer.body.clear()
        again = await service.generate("", '[[tool:weather {"city": "Rome"}]] Hi')
        assert (again.cache_status, again.body, again.tool_calls) == ("hit", answer.body, answer.tool_calls)


@pytest.fixture(params=["service", "openai-chat", "openai-responses"])
async def echoing(request: pytest.FixtureRequest, provider: LocalProvider, answers: ResponseCache) -> Any:
    """The faces that repeat a request's `metadata` in the answer."""
    async with AsyncExitStack() as stack:
        yield await LIVE[request.param](provider, answers, stack)


@pytest.mark.parametrize("way", ["whole", "streamed"])
async def test_metadata_in_an_answer_is_the_callers_own(echoing: Face, provider: LocalProvider, way: str) -> None:
    """Three callers share one call; each answer has its caller's labels, and a later caller without any gets none."""
    if way == "streamed" and echoing.protocol == "openai.chat":
        way = "whole"  # chunks of a chat repeat no metadata
    made = await _all_at_once(echoing, provider, [Request(labels={"for": name}) for name in NAMES], way)
    assert [body["metadata"] for body in made] == [{"for": name} for name in NAMES]
    ask = echoing.whole if way == "whole" else lambda request: streamed(echoing, request)
    assert (await ask(Request(labels={"for": "dan"})))["metadata"] == {"for": "dan"}
    last = str([event async for event in echoing.events(Request())]) + str(await echoing.whole(Request()))
    assert not [name for name in (*NAMES, "dan") if f"'{name}'" in last]
    assert provider.calls == 1


BROKEN = {
    "an empty answer": "[[empty]]",
    "an error as text": '[[say "Sorry, an internal error occurred"]]',
    "a refusal": "[[refusal no]]",
    "a call without JSON": '[[tool:weather "{\\"city\\": "]]',
    "an answer cut by its length": "[[finish length]]",
    "a server's error": "[[error 500]]",
}


@pytest.mark.parametrize("broken", BROKEN)
async def test_a_second_try_gets_another_answer(live: Face, provider: LocalProvider, broken: str) -> None:
    """A caller that asks again because the answer was no good asks the provider, and that answer is kept."""
    if live.protocol == "anthropic.messages" and broken == "a call without JSON":
        pytest.skip("in Anthropic's messages the arguments of a call are JSON themselves")
    provider.queue(BROKEN[broken])
    request = Request(text="[[words 6]] Weather?", tool="by city")
    if broken == "a server's error":
        with pytest.raises((openai.InternalServerError, anthropic.InternalServerError, AllProvidersFailedError)):
            await live.whole(request)
    else:
        await live.whole(request)
    good = await text_of(live, request)
    assert len(good.split()) > 3
    assert provider.calls == 2
    assert await text_of(live, request) == good
    assert provider.calls == 2


async def test_json_off_its_schema_is_asked_for_again(provider: LocalProvider, answers: ResponseCache) -> None:
    """An SDK that parses the answer fails on the first; its second try is not answered with the same text."""
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    form: Any = {"type": "json_schema", "json_schema": {"name": "number", "schema": schema}}
    async with async_cached_client(answers) as http:
        client = openai.AsyncOpenAI(base_url=provider.openai_url, api_key="k", http_client=http)
        provider.queue('[[say {"n": "many"}]]', '[[say {"n": 3}]]')
        told = [
            (
                await client.chat.completions.create(
                    model="m", messages=[{"role": "user", "content": "How many?"}], response_format=form
                )
            )
            .choices[0]
            .message.content
            for _ in range(3)
        ]
    assert told == ['{"n": "many"}', '{"n": 3}', '{"n": 3}']


async def test_the_retry_of_an_sdk_is_a_new_call(provider: LocalProvider, answers: ResponseCache) -> None:
    """An error reaches the callers that waited for it, and is not kept."""
    async with async_cached_client(answers) as http:
        client = openai.AsyncOpenAI(base_url=provider.openai_url, api_key="k", http_client=http, max_retries=1)
        provider.queue("[[error 503 retry-after=0.01]]")
        made = await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hi"}])
    assert made.choices[0].message.content
    assert provider.calls == 2
