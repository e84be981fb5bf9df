"""Answers and streams by chance: bodies as providers write them, and the same answers cut into events at any place."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st

from cachecore_llm.wire import OPENAI_RESPONSES, JsonObject

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
words = st.text("abcdefghij_", min_size=1, max_size=12)
scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    scalars | texts, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=8
)
json_objects = st.dictionaries(texts, json_values, max_size=4)
counts = st.integers(0, 10**6)


@st.composite
def cuts(draw: st.DrawFn, value: Any) -> list[Any]:
    """Cut a text or a list into one or more pieces, some of them empty."""
    places = sorted(draw(st.lists(st.integers(0, len(value)), max_size=6)))
    return [value[a:b] for a, b in pairwise([0, *places, len(value)])]


@dataclass(frozen=True)
class Stream:
    """An answer, and events that a server might have sent it in."""

    body: JsonObject
    events: list[JsonObject]
    n: int = 1


def _id(value: JsonObject) -> str:
    return str(value["id"])


# --- openai.chat

chat_usage = st.fixed_dictionaries(
    {"prompt_tokens": counts, "completion_tokens": counts, "total_tokens": counts},
    optional={"prompt_tokens_details": st.fixed_dictionaries({"cached_tokens": counts})},
)
tool_calls: st.SearchStrategy[JsonObject] = st.fixed_dictionaries(
    {
        "id": words,
        "type": st.just("function"),
        "function": st.fixed_dictionaries({"name": words, "arguments": texts | json_objects.map(json.dumps)}),
    }
)
logprobs = st.none() | st.fixed_dictionaries(
    {"content": st.lists(st.fixed_dictionaries({"token": texts, "logprob": st.just(-0.5)}), max_size=3)}
)


media = st.binary(max_size=40).map(lambda data: base64.b64encode(data).decode())


@st.composite
def chat_bodies(draw: st.DrawFn) -> JsonObject:
    """A chat completion; tool calls have different ids, as every provider gives them."""
    choices = []
    for index in range(draw(st.integers(1, 3))):
        message: JsonObject = {"role": "assistant", "content": draw(st.none() | texts)}
        optional: dict[str, st.SearchStrategy[Any]] = {
            "refusal": st.none() | texts,
            "reasoning_content": texts,
            "annotations": st.lists(json_objects, max_size=2),
            "audio": st.fixed_dictionaries({"id": words, "data": media, "transcript": texts, "expires_at": counts}),
            "tool_calls": st.lists(tool_calls, min_size=1, max_size=3, unique_by=_id),
        }
        for key, values in optional.items():
            if draw(st.booleans()):
                message[key] = draw(values)
        choice: JsonObject = {"index": index, "message": message, "finish_reason": draw(st.sampled_from(FINISHES))}
        if draw(st.booleans()):
            choice["logprobs"] = draw(logprobs)
        choices.append(choice)
    body: JsonObject = {"id": draw(words), "object": "chat.completion", "created": draw(counts), "model": draw(words)}
    body["choices"] = choices
    beside: dict[str, st.SearchStrategy[Any]] = {
        "usage": chat_usage,
        "system_fingerprint": st.none() | words,
        "service_tier": words,
    }
    for key, values in beside.items():
        if draw(st.booleans()):
            body[key] = draw(values)
    return body


FINISHES = ["stop", "length", "tool_calls", "content_filter"]


@st.composite
def chat_streams(draw: st.DrawFn, body: JsonObject | None = None) -> Stream:
    """A chat completion, streamed as OpenAI does, with the choices in turns."""
    body = body if body is not None else draw(chat_bodies().filter(_openai_like))
    head: JsonObject = {
        key: body[key] for key in ("id", "created", "model", "system_fingerprint", "service_tier") if key in body
    }
    head["object"] = "chat.completion.chunk"
    rows = [draw(_choice_chunks(choice)) for choice in body["choices"]]
    # The choices begin in their order: the SDK can read no other.
    events: list[JsonObject] = [{**head, "choices": [row.pop(0)]} for row in rows]
    while any(rows):
        row = draw(st.sampled_from([row for row in rows if row]))
        events.append({**head, "choices": [row.pop(0)]})
    if "usage" in body:
        events.append({**head, "choices": [], "usage": body["usage"]})
    return Stream(body, events, n=len(rows))


def _openai_like(body: JsonObject) -> bool:
    return all(choice.get("logprobs") is None for choice in body["choices"]) and (
        len({"logprobs" in choice for choice in body["choices"]}) == 1
    )


@st.composite
def _choice_chunks(draw: st.DrawFn, choice: JsonObject) -> list[JsonObject]:
    message, index = choice["message"], choice["index"]
    beside: JsonObject = {"finish_reason": None}
    if "logprobs" in choice:
        beside["logprobs"] = None
    empty = {
        key: "" if isinstance(value, str) else None
        for key, value in message.items()
        if key in ("content", "refusal", "reasoning_content")
    }
    deltas: list[JsonObject] = [{"role": "assistant", **empty}]
    for key in ("reasoning_content", "content", "refusal"):
        if message.get(key):
            deltas += [{key: piece} for piece in draw(cuts(message[key]))]
    if "audio" in message:
        audio = message["audio"]
        deltas.append({"audio": {"id": audio["id"]}})
        for key in ("transcript", "data"):
            deltas += [{"audio": {key: piece}} for piece in draw(cuts(audio[key]))]
        deltas.append({"audio": {"expires_at": audio["expires_at"]}})
    if "annotations" in message:
        deltas.append({"annotations": message["annotations"]})
    for place, call in enumerate(message.get("tool_calls", ())):
        deltas.append(
            {"tool_calls": [{"index": place, **call, "function": {"name": call["function"]["name"], "arguments": ""}}]}
        )
        for piece in draw(cuts(call["function"]["arguments"])):
            deltas.append({"tool_calls": [{"index": place, "function": {"arguments": piece}}]})
    chunks = [{"index": index, "delta": delta, **beside} for delta in deltas]
    if draw(st.booleans()):
        return [*chunks, {"index": index, "delta": {}, **beside, "finish_reason": choice["finish_reason"]}]
    return [*chunks[:-1], {**chunks[-1], "finish_reason": choice["finish_reason"]}]


# --- anthropic.messages

citations = st.fixed_dictionaries({"type": st.just("char_location"), "cited_text": texts, "document_index": counts})
blocks: st.SearchStrategy[JsonObject] = st.one_of(
    st.fixed_dictionaries({"type": st.just("text"), "text": texts}),
    st.fixed_dictionaries({"type": st.just("text"), "text": texts, "citations": st.lists(citations, max_size=3)}),
    st.fixed_dictionaries({"type": st.just("thinking"), "thinking": texts, "signature": words}),
    st.fixed_dictionaries({"type": st.just("redacted_thinking"), "data": words}),
    st.fixed_dictionaries({"type": st.just("tool_use"), "id": words, "name": words, "input": json_objects}),
    st.fixed_dictionaries({"type": st.just("server_tool_use"), "id": words, "name": words, "input": json_objects}),
    st.fixed_dictionaries({"type": st.just("web_search_tool_result"), "tool_use_id": words, "content": st.just([])}),
    st.fixed_dictionaries({"type": st.just("hologram"), "beam": json_values}),
)
message_usage = st.fixed_dictionaries(
    {"input_tokens": counts, "output_tokens": counts},
    optional={"cache_read_input_tokens": counts, "cache_creation_input_tokens": counts, "service_tier": words},
)


@st.composite
def message_bodies(draw: st.DrawFn) -> JsonObject:
    """A message that ended well."""
    body: JsonObject = {"id": draw(words), "type": "message", "role": "assistant", "model": draw(words)}
    body["content"] = draw(st.lists(blocks, max_size=4))
    body["stop_reason"] = draw(st.sampled_from(["end_turn", "stop_sequence", "tool_use"]))
    body["stop_sequence"] = draw(st.none() | texts)
    body["usage"] = draw(message_usage)
    if draw(st.booleans()):
        body["container"] = draw(st.none() | json_objects)
    return body


@st.composite
def message_streams(draw: st.DrawFn, body: JsonObject | None = None) -> Stream:
    """A message, streamed as Anthropic does, with pings."""
    body = body if body is not None else draw(message_bodies())
    begun: JsonObject = {"content": [], "stop_reason": None, "stop_sequence": None}
    usage = {**body["usage"], "output_tokens": draw(counts)}
    events: list[JsonObject] = [{"type": "message_start", "message": {**body, **begun, "usage": usage}}]
    for index, block in enumerate(body["content"]):
        start, deltas = draw(_block_events(block))
        events.append({"type": "content_block_start", "index": index, "content_block": start})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
        if draw(st.booleans()):
            events.append({"type": "ping"})
    ended = {"stop_reason": body["stop_reason"], "stop_sequence": body["stop_sequence"]}
    tokens = {"output_tokens": body["usage"]["output_tokens"]}
    events += [{"type": "message_delta", "delta": ended, "usage": tokens}, {"type": "message_stop"}]
    return Stream(body, events)


@st.composite
def _block_events(draw: st.DrawFn, block: JsonObject) -> tuple[JsonObject, list[JsonObject]]:
    match block:
        case {"type": "text", "text": text}:
            deltas = [{"type": "text_delta", "text": piece} for piece in draw(cuts(text))]
            cited = [{"type": "citations_delta", "citation": one} for one in block.get("citations", ())]
            return {**block, "text": "", **({"citations": []} if "citations" in block else {})}, [*deltas, *cited]
        case {"type": "thinking", "thinking": thinking, "signature": signature}:
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in draw(cuts(thinking))]
            return {**block, "thinking": "", "signature": ""}, [
                *deltas,
                {"type": "signature_delta", "signature": signature},
            ]
        case {"input": value}:
            text = json.dumps(value, ensure_ascii=draw(st.booleans())) if value else ""
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in draw(cuts(text))]
            return {**block, "input": {}}, deltas
    return block, []


# --- openai.responses

url_citations: st.SearchStrategy[JsonObject] = st.fixed_dictionaries(
    {"type": st.just("url_citation"), "url": words, "title": texts}
)
parts: st.SearchStrategy[JsonObject] = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("output_text"), "text": texts, "annotations": st.lists(url_citations, max_size=2)}
    ),
    st.fixed_dictionaries({"type": st.just("refusal"), "refusal": texts}),
)
summaries: st.SearchStrategy[JsonObject] = st.fixed_dictionaries({"type": st.just("summary_text"), "text": texts})
done = st.just("completed")
items: st.SearchStrategy[JsonObject] = st.one_of(
    st.fixed_dictionaries(
        {
            "id": words,
            "type": st.just("message"),
            "status": done,
            "role": st.just("assistant"),
            "content": st.lists(parts, max_size=2),
        }
    ),
    st.fixed_dictionaries(
        {
            "id": words,
            "type": st.just("function_call"),
            "status": done,
            "call_id": words,
            "name": words,
            "arguments": texts,
        }
    ),
    st.fixed_dictionaries(
        {"id": words, "type": st.just("custom_tool_call"), "call_id": words, "name": words, "input": texts}
    ),
    st.fixed_dictionaries({"id": words, "type": st.just("reasoning"), "summary": st.lists(summaries, max_size=2)}),
    st.fixed_dictionaries({"id": words, "type": st.just("web_search_call"), "status": done, "action": json_objects}),
    st.fixed_dictionaries({"id": words, "type": st.just("hologram"), "beam": json_values}),
)
echoes = st.fixed_dictionaries(
    {},
    optional={
        "user": st.none() | words,
        "metadata": st.dictionaries(words, words, max_size=2),
        "safety_identifier": st.none() | words,
        "prompt_cache_key": st.none() | words,
    },
)


@st.composite
def response_streams(draw: st.DrawFn, body: JsonObject | None = None) -> Stream:
    """A response, streamed with the same events and other cuts in its deltas."""
    body = body if body is not None else draw(response_bodies())
    events: list[JsonObject] = []
    deltas: list[JsonObject] = []
    for event in [*OPENAI_RESPONSES.events_of(body), {"type": ""}]:
        if not event["type"].endswith(".delta") and deltas:
            pieces = draw(cuts("".join(delta["delta"] for delta in deltas)))
            events += [{**deltas[0], "delta": piece} for piece in pieces]
            deltas = []
        (deltas if event["type"].endswith(".delta") else events).append(event)
    return Stream(body, [{**event, "sequence_number": at} for at, event in enumerate(events[:-1])])


@st.composite
def response_bodies(draw: st.DrawFn) -> JsonObject:
    """A response that completed."""
    output = draw(st.lists(items, max_size=4, unique_by=_id))
    return {
        "id": draw(words),
        "object": "response",
        "created_at": draw(counts),
        "status": "completed",
        "error": None,
        "model": draw(words),
        "output": output,
        "usage": {"input_tokens": draw(counts), "output_tokens": draw(counts), "total_tokens": draw(counts)},
        **draw(echoes),
    }
