"""Laws of the translation between chat completions and Anthropic's messages."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cachecore_llm import UnsupportedRequestError, UnusableAnswerError
from cachecore_llm.key import TABLE, Verdict
from cachecore_llm.upstream.chat_to_messages import messages_body
from cachecore_llm.upstream.messages_to_chat import chunks_of, completion_of
from cachecore_llm.upstream.plain_to_chat import plain_answer, plain_events
from cachecore_llm.wire import ANTHROPIC_MESSAGES, OPENAI_CHAT, JsonObject, record

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | st.sampled_from(["", "text", "auto"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "text", "a"]), inner, max_size=3)
    ),
    max_leaves=6,
)
KINDS = st.sampled_from(["text", "image_url", "file", "function", "tool_use", "json_schema", "refusal", "thinking"])


def objects(*fields: str) -> st.SearchStrategy[dict[str, Any]]:
    """Return objects with some of `fields`, of any type, and often a known type."""
    values = {field: JSON for field in fields if field != "type"}
    return st.fixed_dictionaries({}, optional={**values, "type": KINDS | JSON})


PARTS = st.lists(objects("text", "image_url", "file", "refusal", "cache_control"), max_size=3)
ROLES = st.sampled_from(["system", "user", "assistant", "tool", "function"])
CALLS = st.lists(st.fixed_dictionaries({"function": objects("name", "arguments") | JSON}), max_size=2)
TURNS = st.lists(
    st.fixed_dictionaries(
        {"role": ROLES}, optional={"content": PARTS | JSON, "tool_calls": CALLS | JSON, "tool_call_id": JSON}
    )
    | JSON,
    max_size=4,
)
REQUESTS = st.fixed_dictionaries(
    {"messages": TURNS | JSON},
    optional={
        "tools": st.lists(objects("function", "custom") | JSON, max_size=2) | JSON,
        "tool_choice": objects("function") | JSON,
        "response_format": objects("json_schema") | JSON,
        **dict.fromkeys(
            ("temperature", "stop", "user", "service_tier", "reasoning_effort", "n", "seed", "max_tokens"), JSON
        ),
    },
)


def _translated(body: JsonObject) -> JsonObject | str:
    """Return what is sent, or what the refusal says."""
    try:
        return messages_body(body, max_tokens=9)
    except UnsupportedRequestError as error:
        return str(error)


@given(REQUESTS)
@settings(max_examples=200)
def test_any_request_is_translated_or_refused_by_name(body: JsonObject) -> None:
    made = _translated(body)
    assert isinstance(made, str) or isinstance(made["messages"], list)
    assert not isinstance(made, str) or "has no equal" in made


SAMPLES: dict[str, Any] = {
    "messages": [{"role": "user", "content": "y"}],
    "response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}},
    "tools": [{"type": "function", "function": {"name": "f"}}],
    "tool_choice": "required",
    "temperature": 0.5,
    "service_tier": "default",
    "reasoning_effort": "low",
    "moderation": {"a": 1},
    "prompt_cache_options": {"a": 1},
}
WITHOUT_EFFECT = {
    "store": "stores at OpenAI",
    "prediction": "only saves time",
    "prompt_cache_options": "OpenAI's prompt cache",
}
KEYED = [row.name for row in TABLE["openai.chat"] if row.verdict is Verdict.KEYED]


@pytest.mark.parametrize("field", KEYED)
def test_no_field_that_shapes_answers_is_lost(field: str) -> None:
    """Every field of the key changes what is sent, or is refused by name."""
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    plain = messages_body(body, max_tokens=9)
    made = _translated({**body, "tools": SAMPLES["tools"], field: SAMPLES.get(field, 7)})
    if isinstance(made, str):
        assert field in made
        return
    if field == "parallel_tool_calls":
        made = messages_body({**body, "tools": SAMPLES["tools"], field: False}, max_tokens=9)
    changed = {name for name in {**plain, **made} if plain.get(name) != made.get(name)}
    assert changed - {"tools"} or field == "tools" or field in WITHOUT_EFFECT


BLOCKS = st.lists(
    st.fixed_dictionaries({"type": st.just("text"), "text": st.text(min_size=1, max_size=20)})
    | st.fixed_dictionaries({"type": st.just("thinking"), "thinking": st.text(min_size=1, max_size=20)})
    | st.fixed_dictionaries(
        {
            "type": st.just("tool_use"),
            "id": st.sampled_from(["t1", "t2"]),
            "name": st.sampled_from(["f", "g"]),
            "input": st.dictionaries(st.sampled_from("ab"), st.integers() | st.text(max_size=5), max_size=2),
        }
    ),
    max_size=4,
)
BODIES = st.fixed_dictionaries(
    {
        "id": st.just("msg_1"),
        "type": st.just("message"),
        "role": st.just("assistant"),
        "model": st.just("claude"),
        "content": BLOCKS,
        "stop_reason": st.sampled_from(["end_turn", "tool_use", "max_tokens", "refusal", "pause_turn"]),
        "stop_sequence": st.none(),
        "usage": st.fixed_dictionaries({"input_tokens": st.integers(0, 9), "output_tokens": st.integers(0, 9)}),
    }
)


async def _stream(events: Iterable[JsonObject]) -> AsyncIterator[JsonObject]:
    for event in events:
        yield event


@given(BODIES)
@settings(max_examples=200)
async def test_events_and_body_are_translated_to_one_answer(body: JsonObject) -> None:
    for call, block in enumerate(body["content"]):
        if block["type"] == "tool_use":
            block["id"] = f"{block['id']}_{call}"  # ids are unique in an answer
    events = [chunk async for chunk in chunks_of(_stream(ANTHROPIC_MESSAGES.events_of(body)))]
    recording = record(OPENAI_CHAT, events)
    assert recording.body is not None
    assert recording.whole
    whole = completion_of(body)

    def said(answer: JsonObject) -> Any:
        facts = OPENAI_CHAT.facts(answer)
        (choice,) = facts.choices
        calls = [(call.id, call.name, call.arguments.replace(" ", "")) for call in choice.tool_calls]
        return choice.text, choice.reasoning, choice.finish, choice.raw_finish, choice.refusal, calls, facts.usage

    assert said(recording.body) == said(whole)
    assert recording.complete is OPENAI_CHAT.facts(whole).complete


@given(JSON | objects("content", "stop_reason", "usage", "stop_details", "error"))
@settings(max_examples=200)
def test_any_answer_is_translated(body: Any) -> None:
    if isinstance(body, dict):
        assert isinstance(completion_of(body), dict)


EVENTS = st.sampled_from(
    [
        *("message_start", "content_block_start", "content_block_delta", "content_block_stop"),
        *("message_delta", "message_stop", "error", "ping", "new_event"),
    ]
)
DELTAS = st.fixed_dictionaries(
    {"type": st.sampled_from(["text_delta", "thinking_delta", "input_json_delta", "new_delta"])},
    optional={"text": JSON, "thinking": JSON, "partial_json": JSON},
)


@given(
    st.lists(
        st.fixed_dictionaries(
            {"type": EVENTS},
            optional={
                "index": st.integers(0, 2) | JSON,
                "delta": DELTAS | objects("stop_reason") | JSON,
                "content_block": objects("text", "id", "name", "input") | JSON,
                "message": objects("id", "model", "usage") | JSON,
                "usage": JSON,
            },
        ),
        max_size=8,
    )
)
@settings(max_examples=200)
async def test_any_events_are_translated(events: list[JsonObject]) -> None:
    chunks = [chunk async for chunk in chunks_of(_stream(events))]
    ended = any(choice.get("finish_reason") for chunk in chunks for choice in chunk.get("choices", ()))
    assert not ended or any(event["type"] == "message_stop" for event in events)


@given(JSON | st.fixed_dictionaries({"choices": st.lists(objects("message", "delta", "finish_reason"), max_size=2)}))
@settings(max_examples=200)
async def test_any_completion_is_a_plain_answer_or_none(body: Any) -> None:
    if not isinstance(body, dict):
        return
    with contextlib.suppress(UnusableAnswerError):
        plain_answer(body, "p")
    with contextlib.suppress(UnusableAnswerError):
        async for event in plain_events(_stream([body]), "p"):
            assert {"text", "end"} & set(event) or event is body
