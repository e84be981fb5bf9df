"""Anthropic messages: the SDK parses every kind, and its own assembly of a stream is the whole answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic import AsyncAnthropic
from anthropic.types import Message, RawMessageStreamEvent

from cachecore_llm.testing.provider import LocalProvider
from tests.llm.provider.conftest import Counted
from tests.llm.provider.judged import judge
from tests.llm.provider.test_chat import PERSON, PIXEL

WEATHER = {
    "name": "get_weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def ask(text: Any, **more: Any) -> dict[str, Any]:
    return {"model": "claude-local", "max_tokens": 1000, "messages": [{"role": "user", "content": text}], **more}


KINDS: dict[str, dict[str, Any]] = {
    "text": ask("Where is Bonn?", system="Be short."),
    "blocks": ask([{"type": "text", "text": "Where is Bonn?", "cache_control": {"type": "ephemeral"}}]),
    "pieces of characters": ask('[[say "Bonn liegt am Rhein – jawohl."]] [[chunks 25]]'),
    "text that looks like the protocol": ask('[[say "event: message_stop\\ndata: {}\\n\\n"]]'),
    "empty text": ask('[[say ""]]'),
    "empty": ask("[[empty]]"),
    "parallel tools": ask(
        '[[tool:get_weather {"city": "Bonn"}]] [[tool:get_weather {"city": "Ulm"}]]', tools=[WEATHER]
    ),
    "tool without input": ask("[[tool:now {}]]"),
    "tool demanded": ask("Bonn?", tools=[WEATHER], tool_choice={"type": "tool", "name": "get_weather"}),
    "any tool": ask("Bonn?", tools=[WEATHER], tool_choice={"type": "any"}),
    "text and tool": ask('[[say "Let me see."]] [[tool:get_weather {"city": "Bonn"}]]'),
    "thinking": ask("Where?", thinking={"type": "enabled", "budget_tokens": 1024}),
    "thinking told": ask("[[reasoning First the river, then the town.]] Where?"),
    "thinking redacted": ask("[[reasoning First.]] [[redacted]] Where?"),
    "refusal": ask("[[refusal I cannot help with that.]]"),
    "filtered": ask("[[finish content_filter]] [[empty]]"),
    "structured": ask("Who?", output_config={"format": {"type": "json_schema", "schema": PERSON}}),
    "citations": ask("[[citations 2]] Where is Bonn?"),
    "search": ask("[[search bonn]] Where is Bonn?", tools=[{"type": "web_search_20250305", "name": "web_search"}]),
    "usage": ask("[[usage cached=100 cache-write=20 reasoning=7]] Where is Bonn?"),
    "length": ask("[[words 50]]") | {"max_tokens": 7},
    "stop sequence": ask("[[say one two three]]", stop_sequences=["two"]),
    "pause": ask("[[finish pause_turn]]"),
}


async def streamed(client: AsyncAnthropic, request: dict[str, Any]) -> list[Any]:
    return [event async for event in await client.messages.create(**request, stream=True)]


def plain(message: Message) -> dict[str, Any]:
    data: dict[str, Any] = message.model_dump(mode="json", exclude_none=True)
    for block in data["content"]:
        block.pop("parsed_output", None)
    return data


@pytest.mark.parametrize("kind", KINDS)
async def test_the_assembled_stream_is_the_whole_answer(kind: str, anthropic: AsyncAnthropic, entropy: Counted) -> None:
    whole = await anthropic.messages.create(**KINDS[kind])
    judge(Message, whole)
    entropy.restart()
    async with anthropic.messages.stream(**KINDS[kind]) as stream:
        async for _ in stream:
            pass
        final = await stream.get_final_message()
    assert plain(final) == plain(whole)
    for event in await streamed(anthropic, KINDS[kind]):
        judge(RawMessageStreamEvent, event)


async def test_an_answer_is_what_it_is_told(anthropic: AsyncAnthropic) -> None:
    async def answer(kind: str) -> Any:
        return await anthropic.messages.create(**KINDS[kind])

    tools = await answer("parallel tools")
    assert [(block.name, block.input) for block in tools.content] == [
        ("get_weather", {"city": "Bonn"}),
        ("get_weather", {"city": "Ulm"}),
    ]
    assert tools.stop_reason == "tool_use"
    assert (await answer("any tool")).content[0].name == "get_weather"
    thinking, text = (await answer("thinking told")).content
    assert (thinking.type, thinking.thinking, text.type) == ("thinking", "First the river, then the town.", "text")
    assert thinking.signature
    assert [block.type for block in (await answer("thinking redacted")).content] == [
        "thinking",
        "redacted_thinking",
        "text",
    ]
    refused = await answer("refusal")
    assert (refused.stop_reason, refused.stop_details.explanation) == ("refusal", "I cannot help with that.")
    assert (await answer("filtered")).content == []
    assert set(json.loads((await answer("structured")).content[0].text)) == {"name", "age", "tags"}
    cited = (await answer("citations")).content
    assert [block.citations[0].type for block in cited] == ["char_location"] * 2
    assert "".join(block.text for block in cited).startswith('You asked "Where is Bonn?"')
    search = await answer("search")
    assert [block.type for block in search.content] == ["server_tool_use", "web_search_tool_result", "text"]
    assert search.content[2].citations[0].type == "web_search_result_location"
    assert search.usage.server_tool_use.web_search_requests == 1
    usage = (await answer("usage")).usage
    assert (usage.cache_read_input_tokens, usage.cache_creation_input_tokens) == (100, 20)
    assert 0 < usage.input_tokens < 100
    length = await answer("length")
    assert (length.stop_reason, len(length.content[0].text.split())) == ("max_tokens", 7)
    stopped = await answer("stop sequence")
    assert (stopped.stop_reason, stopped.stop_sequence, stopped.content[0].text) == ("stop_sequence", "two", "one ")
    assert (await answer("pause")).stop_reason == "pause_turn"


async def test_marks_do_not_change_the_answer(anthropic: AsyncAnthropic) -> None:
    texts = set()
    for mark in ({}, {"cache_control": {"type": "ephemeral"}}):
        content: Any = [{"type": "text", "text": "Where is Bonn?", **mark}]
        answer = await anthropic.messages.create(
            model="m", max_tokens=100, messages=[{"role": "user", "content": content}]
        )
        texts.add(answer.content[0].to_json())
    assert len(texts) == 1


async def test_unknown_blocks_and_events_are_passed_on(anthropic: AsyncAnthropic) -> None:
    whole = await anthropic.messages.create(**ask("[[unknown]] Hi"))
    assert [block.type for block in whole.content] == ["text", "vendor_block"]
    assert "vendor_event" in [event.type for event in await streamed(anthropic, ask("[[unknown]] Hi"))]
    async with anthropic.messages.stream(**ask("[[unknown]] Hi")) as stream:
        final = await stream.get_final_message()
    assert [block.type for block in final.content] == ["text", "vendor_block"]


async def test_pictures_and_tool_results(provider: LocalProvider, anthropic: AsyncAnthropic) -> None:
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    content = [{"type": "text", "text": "[[tool:look {}]] What?"}, {"type": "image", "source": source}]
    history: Any = [{"role": "user", "content": content}]
    called = await anthropic.messages.create(model="m", max_tokens=100, messages=history)
    call = called.content[0]
    assert call.type == "tool_use"
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "a town"}
    history += [{"role": "assistant", "content": [call.to_dict()]}, {"role": "user", "content": [result]}]
    answer = await anthropic.messages.create(model="m", max_tokens=100, messages=history)
    text = answer.content[0]
    assert text.type == "text"
    assert "image/png, 25 bytes, sha256" in text.text
    assert "used 1 tool result" in text.text
    assert provider.calls_for(protocol="anthropic.messages") == 2


async def test_arguments_that_are_no_json_have_no_form_here(anthropic: AsyncAnthropic) -> None:
    from anthropic import BadRequestError

    with pytest.raises(BadRequestError, match="a tool_use block is JSON itself"):
        await anthropic.messages.create(**ask('[[tool:get_weather "{"]]'))
