"""Responses: the OpenAI SDK parses every kind, its events add up to the whole answer, and its own state agrees."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import pytest
from openai import AsyncOpenAI, BadRequestError, omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseStreamEvent

from cachecore_llm.testing.provider import LocalProvider
from tests.llm.provider.conftest import Counted
from tests.llm.provider.judged import judge
from tests.llm.provider.test_chat import PERSON, PIXEL

WEATHER = {
    "type": "function",
    "name": "get_weather",
    "strict": True,
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
# `store` is echoed by the service and missing in the SDK's type; `obfuscation` and `name` of events likewise.
EXTRAS = ("store", "obfuscation", "name")


def ask(given: Any, **more: Any) -> dict[str, Any]:
    return {"model": "gpt-local", "input": given, **more}


KINDS: dict[str, dict[str, Any]] = {
    "text": ask("Where is Bonn?"),
    "messages": ask(
        [{"role": "user", "content": [{"type": "input_text", "text": "Where is Bonn?"}]}], instructions="Be short."
    ),
    "pieces of characters": ask('[[say "Bonn liegt am Rhein – jawohl."]] [[chunks 25]]'),
    "text that looks like the protocol": ask('[[say "data: [DONE]\\n\\nevent: response.completed\\n\\n"]]'),
    "empty text": ask('[[say ""]]'),
    "empty": ask("[[empty]]"),
    "parallel tools": ask(
        '[[tool:get_weather {"city": "Bonn"}]] [[tool:get_weather {"city": "Ulm"}]]', tools=[WEATHER]
    ),
    "tool demanded": ask("Bonn?", tools=[WEATHER], tool_choice={"type": "function", "name": "get_weather"}),
    "broken arguments": ask('[[tool:get_weather "{\\"city\\": \\"Bo"]] [[chunks 3]]'),
    "reasoning": ask("Where?", reasoning={"effort": "low", "summary": "auto"}),
    "reasoning text": ask("[[reasoning First the river, then the town.]] Where?"),
    "reasoning encrypted": ask(
        "Where?", reasoning={"effort": "low"}, include=["reasoning.encrypted_content"], store=False
    ),
    "reasoning redacted": ask("[[redacted]] Where?"),
    "refusal": ask("[[refusal I cannot help with that.]]"),
    "logprobs": ask("Where?", include=["message.output_text.logprobs"], top_logprobs=2),
    "logprobs in pieces": ask("Where? [[chunks 100]]", include=["message.output_text.logprobs"]),
    "structured": ask("Who?", text={"format": {"type": "json_schema", "name": "p", "strict": True, "schema": PERSON}}),
    "citations": ask("[[citations 2]] Where is Bonn?"),
    "search": ask(
        "[[search bonn]] Where is Bonn?", tools=[{"type": "web_search"}], include=["web_search_call.action.sources"]
    ),
    "usage": ask("[[usage cached=100 reasoning=7 cache-write=20]] Where is Bonn?"),
    "length": ask("[[words 50]]", max_output_tokens=16),
    "filtered": ask("[[finish content_filter]]"),
    "failed": ask("[[finish failed]]"),
    "echoes": ask("Hi", user="u1", metadata={"a": "b"}, safety_identifier="s", prompt_cache_key="k", temperature=0.5),
}


async def streamed(client: AsyncOpenAI, request: dict[str, Any]) -> list[Any]:
    return [event async for event in await client.responses.create(**request, stream=True)]


def added_up(events: list[Any]) -> list[dict[str, Any]]:
    """Return the output that the deltas alone make, in the order of their items; for parts that come in deltas."""
    texts: dict[tuple[int, str, int], str] = defaultdict(str)
    for event in events:
        if event.type.endswith(".delta"):
            place = getattr(event, "content_index", getattr(event, "summary_index", 0))
            texts[event.output_index, event.type.removeprefix("response.").removesuffix(".delta"), place] += event.delta
    return [{"place": place, "text": text} for place, text in sorted(texts.items()) if text]


def said(response: Response) -> list[dict[str, Any]]:
    """Return the same of a whole answer."""
    found: list[tuple[tuple[int, str, int], str]] = []
    for index, item in enumerate(response.output):
        if item.type == "function_call":
            found.append(((index, "function_call_arguments", 0), item.arguments))
        elif item.type == "message":
            for number, part in enumerate(item.content):
                if part.type == "refusal":
                    found.append(((index, "refusal", number), part.refusal))
                else:
                    found.append(((index, "output_text", number), part.text))
        elif item.type == "reasoning":
            found += [((index, "reasoning_summary_text", n), part.text) for n, part in enumerate(item.summary)]
            found += [((index, "reasoning_text", n), part.text) for n, part in enumerate(item.content or [])]
    return [{"place": place, "text": text} for place, text in sorted(found) if text]


@pytest.mark.parametrize("kind", KINDS)
async def test_the_stream_adds_up_to_the_whole_answer(kind: str, openai: AsyncOpenAI, entropy: Counted) -> None:
    whole = await openai.responses.create(**KINDS[kind])
    judge(Response, whole, extras=EXTRAS)
    entropy.restart()
    events = await streamed(openai, KINDS[kind])
    for event in events:
        judge(ResponseStreamEvent, event, extras=EXTRAS)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [event.type for event in events[:2]] == ["response.created", "response.in_progress"]
    assert events[-1].type == f"response.{whole.status}"
    assert events[-1].response.to_dict() == whole.to_dict()
    done = [event.item.to_dict() for event in events if event.type == "response.output_item.done"]
    assert done == [item.to_dict() for item in whole.output]
    assert added_up(events) == said(whole)


def put_together(output: list[Any]) -> list[tuple[Any, ...]]:
    """Return the parts of items that the SDK's state puts together from deltas: texts and arguments."""
    found: list[tuple[Any, ...]] = []
    for item in output:
        parts = getattr(item, "content", None) or []
        texts = [part.text for part in parts if part.type == "output_text"]
        found.append((item.type, item.id, getattr(item, "arguments", None), texts))
    return found


@pytest.mark.parametrize("kind", KINDS)
async def test_the_sdks_state_follows_the_stream(kind: str, openai: AsyncOpenAI) -> None:
    """Just before the last event, which carries all, the SDK has put together the same texts and arguments."""
    events = await streamed(openai, KINDS[kind])
    state: ResponseStreamState[Any] = ResponseStreamState(input_tools=omit, text_format=omit)
    snapshot: Any = None
    for event in events[:-1]:
        snapshot = state.accumulate_event(event)
        state._ResponseStreamState__current_snapshot = snapshot  # type: ignore[attr-defined] # kept by handle_event
    assert put_together(snapshot.output) == put_together(events[-1].response.output)


async def test_an_answer_is_what_it_is_told(openai: AsyncOpenAI) -> None:
    async def answer(kind: str) -> Any:
        return await openai.responses.create(**KINDS[kind])

    calls = [
        (item.name, item.arguments) for item in (await answer("parallel tools")).output if item.type == "function_call"
    ]
    assert calls == [("get_weather", '{"city": "Bonn"}'), ("get_weather", '{"city": "Ulm"}')]
    refused = (await answer("refusal")).output[0]
    assert refused.type == "message"
    assert refused.content[0].type == "refusal"
    assert set(json.loads((await answer("structured")).output_text)) == {"name", "age", "tags"}
    length = await answer("length")
    assert length.incomplete_details is not None
    assert (length.status, length.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert len(length.output_text.split()) == 16
    search, message = (await answer("search")).output
    assert search.type == "web_search_call"
    assert search.action.type == "search"
    assert (search.action.query, [source.url for source in search.action.sources or []]) == (
        "bonn",
        ["https://example.org/source/0"],
    )
    assert message.type == "message"
    assert message.content[0].type == "output_text"
    assert message.content[0].annotations[0].type == "url_citation"
    assert [item.type for item in (await answer("reasoning")).output] == ["reasoning", "message"]
    hidden = (await answer("reasoning encrypted")).output[0]
    assert hidden.type == "reasoning"
    assert hidden.encrypted_content
    usage = (await answer("usage")).usage
    assert usage is not None
    assert (usage.input_tokens_details.cached_tokens, usage.output_tokens_details.reasoning_tokens) == (100, 7)
    assert (await answer("empty")).output == []


async def test_a_response_that_failed_says_so(openai: AsyncOpenAI) -> None:
    events = await streamed(openai, KINDS["failed"])
    assert events[-1].type == "response.failed"
    for response in (events[-1].response, await openai.responses.create(**KINDS["failed"])):
        assert (response.status, response.error.code, response.completed_at) == ("failed", "server_error", None)
    with pytest.raises(BadRequestError, match="known are stop, length, content_filter, failed"):
        await openai.responses.create(**ask("[[finish tool_calls]]"))


async def test_a_response_echoes_its_request(openai: AsyncOpenAI) -> None:
    events = await streamed(openai, KINDS["echoes"])
    for response in (await openai.responses.create(**KINDS["echoes"]), events[0].response, events[-1].response):
        assert (response.user, response.metadata, response.safety_identifier) == ("u1", {"a": "b"}, "s")
        assert (response.prompt_cache_key, response.temperature) == ("k", 0.5)


async def test_echoed_values_do_not_change_the_answer(openai: AsyncOpenAI) -> None:
    texts = {(await openai.responses.create(model="m", input="Hi", user=user)).output_text for user in "ab"}
    assert len(texts) == 1


async def test_unknown_items_and_events_are_passed_on(openai: AsyncOpenAI) -> None:
    """A client must get along with types that it does not know: the SDK does."""
    events = await streamed(openai, ask("[[unknown]] Hi"))
    assert "response.vendor_item.progress" in [event.type for event in events]
    assert [item.type for item in events[-1].response.output] == ["message", "vendor_item"]


async def test_pictures_and_tool_results(openai: AsyncOpenAI) -> None:
    picture = {"type": "input_image", "image_url": f"data:image/png;base64,{PIXEL}", "detail": "auto"}
    content = [{"type": "input_text", "text": "[[tool:look {}]] What?"}, picture]
    history: Any = [{"role": "user", "content": content}]
    called = await openai.responses.create(model="m", input=history)
    call = called.output[0]
    assert call.type == "function_call"
    history += [call.to_dict(), {"type": "function_call_output", "call_id": call.call_id, "output": "a town"}]
    answer = await openai.responses.create(model="m", input=history)
    assert "image/png, 25 bytes, sha256" in answer.output_text
    assert "used 1 tool result" in answer.output_text


async def test_the_sdks_own_stream_helper(provider: LocalProvider, openai: AsyncOpenAI) -> None:
    async with openai.responses.stream(model="m", input="Hi [[chunks 3]]") as stream:
        deltas = [event.delta async for event in stream if event.type == "response.output_text.delta"]
        final = await stream.get_final_response()
    assert len(deltas) == 3
    assert "".join(deltas) == final.output_text
    await provider.until(lambda: provider.requests[-1].outcome == "complete")
