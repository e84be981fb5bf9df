"""Chat completions: the OpenAI SDK parses every kind, and its own assembly of a stream is the whole answer."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from openai import AsyncOpenAI
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from cachecore_llm.testing.provider import LocalProvider
from tests.llm.provider.conftest import CREATED, Counted
from tests.llm.provider.judged import judge

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1, "maximum": 3}},
            "required": ["city", "days"],
        },
    },
}
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer"},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}},
    },
    "required": ["name", "age", "tags"],
    "additionalProperties": False,
}
PIXEL = base64.b64encode(b"\x89PNG not really a picture").decode()
EXTRAS = ("reasoning_content", "vendor_extension")


def ask(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "gpt-local", "messages": [{"role": "user", "content": text}], **more}


KINDS: dict[str, dict[str, Any]] = {
    "text": ask("Where is Bonn?"),
    "one piece": ask("Where is Bonn? [[chunks 1]]"),
    "pieces of characters": ask('[[say "Bonn liegt am Rhein – jawohl."]] [[chunks 25]]'),
    "text that looks like the protocol": ask('[[say "data: [DONE]\\n\\nevent: message_stop\\n\\n\\u2028x"]]'),
    "empty text": ask('[[say ""]]'),
    "empty": ask("[[empty]]"),
    "parallel tools": ask('[[tool:get_weather {"city": "Bonn"}]] [[tool:get_time {"zone": "CET"}]]', tools=[WEATHER]),
    "tool of the schema": ask("[[tool:get_weather]]", tools=[WEATHER]),
    "tool demanded": ask(
        "Bonn?", tools=[WEATHER], tool_choice={"type": "function", "function": {"name": "get_weather"}}
    ),
    "tool required": ask("Bonn?", tools=[WEATHER], tool_choice="required"),
    "text and tool": ask('[[say "Let me see."]] [[tool:get_weather {"city": "Bonn"}]]'),
    "broken arguments": ask('[[tool:get_weather "{\\"city\\": \\"Bo"]] [[chunks 3]]'),
    "function": ask('[[function:get_weather {"city": "Bonn"}]]'),
    "reasoning": ask("[[reasoning First the river, then the town.]] Where is Bonn?"),
    "refusal": ask("[[refusal I cannot help with that.]]"),
    "logprobs": ask("Where?", logprobs=True, top_logprobs=2),
    "logprobs in pieces": ask("Where? [[chunks 3]]", logprobs=True, top_logprobs=0),
    "logprobs in too many pieces": ask("[[say one two]] [[chunks 100]]", logprobs=True),
    "audio": ask("Say it", modalities=["text", "audio"], audio={"voice": "ash", "format": "wav"}),
    "audio in pieces": ask(
        "Say it [[chunks 3]]", modalities=["text", "audio"], audio={"voice": "ash", "format": "wav"}
    ),
    "three": ask("Where is Bonn?", n=3),
    "structured": ask(
        "Who?", response_format={"type": "json_schema", "json_schema": {"name": "p", "strict": True, "schema": PERSON}}
    ),
    "json": ask("Who?", response_format={"type": "json_object"}),
    "citations": ask("[[citations 2]] Where is Bonn?"),
    "search": ask("[[search bonn]] Where is Bonn?"),
    "usage": ask("[[usage cached=100 reasoning=7 cache-write=20]] Where is Bonn?"),
    "length": ask("[[words 50]]", max_completion_tokens=7),
    "length told": ask("[[finish length]]"),
    "stop": ask("[[say one two three]]", stop=["two"]),
    "filtered": ask("[[finish content_filter]] [[empty]]"),
    "unknown": ask("[[unknown]]"),
    "picture": {
        "model": "gpt-local",
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
                ],
            }
        ],
    },
}


def plain(completion: Any) -> dict[str, Any]:
    """Return the completion without the parts that a stream leaves out: empty lists and empty texts."""
    data: dict[str, Any] = completion.model_dump(mode="json", exclude_none=True)
    for choice in data["choices"]:
        message = choice["message"]
        for name in ("annotations", "tool_calls", "parsed"):
            if not message.get(name):
                message.pop(name, None)
        for call in message.get("tool_calls", ()):
            call.pop("index", None)  # left there by the SDK's assembly
            call["function"].pop("parsed_arguments", None)
        if message.get("content") == "" and "reasoning_content" not in message:
            del message["content"]  # the SDK makes no difference between no text and an empty one
    return data


async def assembled(client: AsyncOpenAI, request: dict[str, Any]) -> tuple[Any, list[ChatCompletionChunk]]:
    """Return the completion that the SDK assembles from the stream, and the chunks."""
    state: ChatCompletionStreamState[None] = ChatCompletionStreamState()
    chunks = []
    options: Any = {"include_usage": True}
    async for chunk in await client.chat.completions.create(**request, stream=True, stream_options=options):
        chunks.append(chunk)
        state.handle_chunk(chunk)
    return state.current_completion_snapshot, chunks


@pytest.mark.parametrize("kind", KINDS)
async def test_the_assembled_stream_is_the_whole_answer(kind: str, openai: AsyncOpenAI, entropy: Counted) -> None:
    whole = await openai.chat.completions.create(**KINDS[kind])
    judge(ChatCompletion, whole, extras=EXTRAS)
    entropy.restart()
    streamed, chunks = await assembled(openai, KINDS[kind])
    for chunk in chunks:
        judge(ChatCompletionChunk, chunk, extras=(*EXTRAS, "annotations"))  # sent by search models, not in the types
    assert {**plain(streamed), "object": "chat.completion"} == plain(whole)
    assert [choice.finish_reason for choice in whole.choices] == [choice.finish_reason for choice in streamed.choices]


async def test_equal_requests_get_equal_answers_with_fresh_ids() -> None:
    async with LocalProvider() as provider, AsyncOpenAI(base_url=provider.openai_url, api_key="key") as client:
        request = ask("Where is Bonn?", tools=[WEATHER])
        first = await client.chat.completions.create(**request, user="a")
        again = await client.chat.completions.create(**request, user="b")
        other = await client.chat.completions.create(**request, temperature=0.5)
        told = ask("[[tool:get_weather]]", tools=[WEATHER])
        calls = [(await client.chat.completions.create(**told)).choices[0].message.tool_calls for _ in range(2)]
    texts = [answer.choices[0].message.content for answer in (first, again, other)]
    assert texts[0] == texts[1] != texts[2]
    assert "Where is Bonn?" in str(texts[0])
    assert len({first.id, again.id, other.id}) == 3
    pair = [call[0] for call in calls if call]
    assert pair[0].id != pair[1].id
    assert pair[0].to_dict() == {**pair[1].to_dict(), "id": pair[0].id}


async def test_choices_differ(openai: AsyncOpenAI) -> None:
    answer = await openai.chat.completions.create(**KINDS["three"])
    assert len({choice.message.content for choice in answer.choices}) == 3
    assert answer.usage is not None
    assert answer.usage.completion_tokens > 2 * answer.usage.prompt_tokens


async def test_an_answer_is_what_it_is_told(openai: AsyncOpenAI) -> None:
    async def first(kind: str) -> Any:
        return (await openai.chat.completions.create(**KINDS[kind])).choices[0]

    assert (
        await first("text that looks like the protocol")
    ).message.content == "data: [DONE]\n\nevent: message_stop\n\n\u2028x"
    tools = (await first("parallel tools")).message.tool_calls
    assert [(call.function.name, call.function.arguments) for call in tools] == [
        ("get_weather", '{"city": "Bonn"}'),
        ("get_time", '{"zone": "CET"}'),
    ]
    made = json.loads((await first("tool demanded")).message.tool_calls[0].function.arguments)
    assert isinstance(made["city"], str)
    assert 1 <= made["days"] <= 3
    assert (await first("broken arguments")).message.tool_calls[0].function.arguments == '{"city": "Bo'
    assert (await first("function")).message.function_call.name == "get_weather"
    assert (await first("function")).finish_reason == "function_call"
    assert (await first("reasoning")).message.reasoning_content == "First the river, then the town."
    refused = await first("refusal")
    assert (refused.message.refusal, refused.message.content) == ("I cannot help with that.", None)
    person = json.loads((await first("structured")).message.content)
    assert set(person) == {"name", "age", "tags"}
    assert isinstance(json.loads((await first("json")).message.content), dict)
    assert len((await first("citations")).message.annotations) == 2
    length = await first("length")
    assert (length.finish_reason, len(length.message.content.split())) == ("length", 7)
    assert (await first("stop")).message.content == "one "
    logs = (await first("logprobs")).logprobs.content
    assert "".join(log.token for log in logs) == (await first("logprobs")).message.content
    assert all(len(log.top_logprobs) == 2 and log.logprob < 0 for log in logs)
    empty = await first("empty")
    assert (empty.message.content, empty.message.tool_calls, empty.finish_reason) == (None, None, "stop")


async def test_pictures_are_told_by_their_digest(openai: AsyncOpenAI) -> None:
    """The same bytes in another wrapping are the same picture; others are not; URLs are not fetched."""

    async def seen(url: str) -> str:
        content = [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": url}}]
        request: Any = [{"role": "user", "content": content}]
        answer = await openai.chat.completions.create(model="m", messages=request)
        return str(answer.choices[0].message.content).partition("saw ")[2]

    usual = await seen(f"data:image/png;base64,{PIXEL}")
    assert usual.startswith("image/png, 25 bytes, sha256 ")
    assert await seen(f"data:image/png;base64,{PIXEL[:8]}\n{PIXEL[8:]}") == usual
    assert await seen("data:image/png;base64,AAAA") != usual
    assert await seen("https://example.org/a.png") == "https://example.org/a.png."


async def test_usage(openai: AsyncOpenAI) -> None:
    usage = (await openai.chat.completions.create(**KINDS["usage"])).usage
    assert usage is not None
    assert usage.prompt_tokens_details is not None
    assert usage.completion_tokens_details is not None
    assert (usage.prompt_tokens_details.cached_tokens, usage.completion_tokens_details.reasoning_tokens) == (100, 7)
    assert usage.prompt_tokens > 100
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


async def test_usage_and_padding_of_a_stream_as_asked(openai: AsyncOpenAI) -> None:
    bare = [chunk async for chunk in await openai.chat.completions.create(**KINDS["text"], stream=True)]
    assert all("usage" not in chunk.to_dict() and chunk.choices for chunk in bare)
    assert all(chunk.obfuscation for chunk in bare)
    options: Any = {"include_usage": True, "include_obfuscation": False}
    full = [
        chunk
        async for chunk in await openai.chat.completions.create(**KINDS["text"], stream=True, stream_options=options)
    ]
    assert not any(chunk.obfuscation for chunk in full)
    assert all(chunk.to_dict()["usage"] is None for chunk in full[:-1])
    assert full[-1].choices == []
    assert full[-1].usage is not None
    assert {chunk.created for chunk in full} == {CREATED}


async def test_choices_of_a_stream_alternate(openai: AsyncOpenAI) -> None:
    chunks = [chunk async for chunk in await openai.chat.completions.create(**KINDS["three"], stream=True)]
    assert [chunk.choices[0].index for chunk in chunks[:6]] == [0, 1, 2, 0, 1, 2]


async def test_after_a_tools_result_the_directives_are_done(openai: AsyncOpenAI) -> None:
    """An agent that answers a tool call gets text next, not the same call for ever."""
    told: Any = {"role": "user", "content": '[[tool:get_weather {"city": "Bonn"}]]'}
    called = (await openai.chat.completions.create(model="m", messages=[told])).choices[0].message
    assert called.tool_calls
    result: Any = {"role": "tool", "tool_call_id": called.tool_calls[0].id, "content": "17 °C"}
    history: Any = [told, called.to_dict(), result]
    answer = (await openai.chat.completions.create(model="m", messages=history)).choices[0]
    assert answer.message.tool_calls is None
    assert "used 1 tool result" in str(answer.message.content)
    follow: Any = [*history, answer.message.to_dict(), {"role": "user", "content": "[[say thanks]]"}]
    assert (await openai.chat.completions.create(model="m", messages=follow)).choices[0].message.content == "thanks"
