"""Errors, the commit point, and what is shown to which caller."""

from __future__ import annotations

from typing import Any

import pytest

from cachecore_llm.wire import (
    ANTHROPIC_MESSAGES,
    OPENAI_CHAT,
    OPENAI_RESPONSES,
    JsonObject,
    RequestFacts,
    ServerEvent,
    WireProtocol,
    record,
    replays_exactly,
)
from tests.llm.wire.golden import ALL

CALLER = RequestFacts(model="m", stream=True)


@pytest.mark.parametrize(
    ("protocol", "body", "kind", "code", "status"),
    [
        (OPENAI_CHAT, {"error": {"message": "m", "type": "server_error", "code": None}}, "server_error", None, None),
        (OPENAI_CHAT, {"error": {"message": "m", "code": 502}}, None, "502", 502),
        (OPENAI_CHAT, {"error": "a text"}, None, None, None),
        (OPENAI_CHAT, {"object": "error", "message": "m", "type": "BadRequest", "code": 400}, "BadRequest", "400", 400),
        (
            OPENAI_RESPONSES,
            {"object": "response", "status": "failed", "error": {"code": "x"}},
            None,
            "x",
            None,
        ),
        (OPENAI_RESPONSES, {"error": {"type": "t", "code": "x"}}, "t", "x", None),
        (ANTHROPIC_MESSAGES, {"type": "error", "error": {"type": "overloaded_error"}}, "overloaded_error", None, None),
    ],
)
def test_an_error_under_200_is_an_error(
    protocol: WireProtocol, body: JsonObject, kind: str | None, code: str | None, status: int | None
) -> None:
    facts = protocol.facts(body)
    assert not facts.complete
    assert facts.error is not None
    assert (facts.error.kind, facts.error.code, facts.error.status) == (kind, code, status)
    recording = record(protocol, [body])
    assert not recording.complete
    if protocol is OPENAI_CHAT or ("error" in body and "object" not in body):
        assert recording.error == facts.error


@pytest.mark.parametrize("golden", ALL, ids=str)
def test_a_whole_body_is_judged_as_its_stream(golden: Any) -> None:
    """A body is complete exactly if the stream that it came from was, but for what only a stream can lack."""
    body = golden.right["body"]
    lacking = {"two_choices_one_missing", "reason_without_stop", "tool_input_cut", "block_never_stopped"}
    if body is not None and golden.name not in lacking:
        assert golden.protocol.facts(body).complete == golden.right["complete"]


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("openai.chat-text", 1),
        ("openai.chat-tools_parallel", 1),
        ("openai.chat-refusal", 1),
        ("openai.chat-audio", 1),
        ("openai.chat-deepseek_reasoning", 1),
        ("openai.responses-text", 4),
        ("openai.responses-tools_parallel", 2),
        ("openai.responses-web_search", 2),
        ("openai.responses-error", None),
        ("anthropic.messages-text", 2),
        ("anthropic.messages-tools_parallel", 1),
        ("anthropic.messages-thinking", 2),
        ("anthropic.messages-no_content", None),
    ],
)
def test_the_commit_point_is_the_first_content(name: str, first: int | None) -> None:
    """Roles, starts and empty texts can still be replaced by another provider's answer."""
    golden = next(golden for golden in ALL if str(golden) == name)
    assembly = golden.protocol.assembly()
    started = []
    for event in golden.events:
        assembly.feed(event)
        started.append(assembly.started)
    assert (started.index(True) if True in started else None) == first


def test_chat_loses_what_belongs_to_one_caller() -> None:
    chunk = {"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {}}]}
    assert OPENAI_CHAT.neutral({**chunk, "obfuscation": "xyz", "usage": None}) == chunk
    assert OPENAI_CHAT.neutral(chunk) is chunk
    body = {"id": "c", "object": "chat.completion", "choices": [], "metadata": {"session": "a"}}
    neutral = OPENAI_CHAT.neutral(body)
    assert neutral == {**body, "metadata": None}
    other = OPENAI_CHAT.parse({"messages": [], "metadata": {"session": "b"}})
    assert OPENAI_CHAT.shown_to(neutral, other) == {**body, "metadata": {"session": "b"}}
    assert OPENAI_CHAT.shown_to(neutral, CALLER) == {**body, "metadata": None}
    assert body["metadata"] == {"session": "a"}


def test_usage_beside_content_is_taken_away_and_the_content_is_not() -> None:
    """Some servers give usage in the last chunk with content, whether asked or not."""
    chunk = {"id": "c", "choices": [{"index": 0, "delta": {"content": "x"}}], "usage": {"prompt_tokens": 1}}
    shown = OPENAI_CHAT.shown_to(chunk, CALLER)
    assert shown == {"id": "c", "choices": chunk["choices"]}
    error = {"error": {"message": "m"}}
    assert OPENAI_CHAT.shown_to(error, CALLER) == error


def test_secrets_of_tools_are_cut_from_a_response() -> None:
    tools = [{"type": "mcp", "authorization": "secret", "headers": {"k": "secret"}}, {"type": "function", "name": "f"}]
    response = {"object": "response", "tools": tools, "metadata": {}}
    for value in (response, {"type": "response.created", "response": response}):
        neutral = OPENAI_RESPONSES.neutral(value)
        assert "secret" not in str(neutral)
        shown = neutral.get("response", neutral)
        assert shown["tools"] == [{"type": "mcp", "authorization": None, "headers": None}, tools[1]]
    assert "secret" in str(response)  # the argument is not changed


@pytest.mark.parametrize(
    ("protocol", "sent", "right"),
    [
        (OPENAI_CHAT, ServerEvent("", "[DONE]"), None),
        (OPENAI_CHAT, ServerEvent("", ""), None),
        (OPENAI_CHAT, ServerEvent("error", '{"error":{}}'), {"error": {}}),
        (OPENAI_RESPONSES, ServerEvent("", "[DONE]"), None),
        (OPENAI_RESPONSES, ServerEvent("error", '{"code":"x"}'), {"type": "error", "code": "x"}),
        (ANTHROPIC_MESSAGES, ServerEvent("ping", '{"type":"ping"}'), None),
        (ANTHROPIC_MESSAGES, ServerEvent("", '{"type":"ping"}'), None),
        (ANTHROPIC_MESSAGES, ServerEvent("message_stop", "{}"), {"type": "message_stop"}),
    ],
)
def test_events_are_told_from_marks(protocol: WireProtocol, sent: ServerEvent, right: JsonObject | None) -> None:
    assert protocol.event_of(sent) == right
    assert protocol.is_end(sent) == (sent.data == "[DONE]")


@pytest.mark.parametrize(
    ("pieces", "whole"),
    [
        (["AA", "A="], True),
        (["AAA=", ""], True),
        (["AA=", "="], True),
        (["AA==", "AA=="], False),
        (["AA==", "", "AAAA"], False),
    ],
)
def test_audio_in_pieces_that_are_padded_each_can_only_be_streamed(pieces: list[str], whole: bool) -> None:
    """Joined they are no base64; where the padding is cut, or an empty piece follows, they are."""
    assembly = OPENAI_CHAT.assembly()
    for piece in pieces:
        delta = {"audio": {"data": piece}}
        choice = {"index": 0, "delta": delta, "finish_reason": None}
        assembly.feed({"id": "c", "object": "chat.completion.chunk", "choices": [choice]})
    ended = {"index": 0, "delta": {}, "finish_reason": "stop"}
    assembly.feed({"id": "c", "object": "chat.completion.chunk", "choices": [ended]})
    assert assembly.recording().whole is whole


def test_null_before_log_probabilities_is_no_strange_shape() -> None:
    """OpenAI's first chunk has null there, the later ones an object."""
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    logs: list[JsonObject] = [
        {"content": [{"token": text, "logprob": -0.5, "bytes": None, "top_logprobs": []}]} for text in ("a", "b")
    ]
    said: list[JsonObject] = [
        {"delta": {"role": "assistant", "content": ""}, "logprobs": None},
        {"delta": {"content": "a"}, "logprobs": logs[0]},
        {"delta": {"content": "b"}, "logprobs": logs[1]},
    ]
    events = [{**head, "choices": [{"index": 0, "finish_reason": None, **choice}]} for choice in said]
    events.append({**head, "choices": [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}]})
    recording = record(OPENAI_CHAT, events)
    assert recording.whole
    assert recording.body is not None
    assert recording.body["choices"][0]["logprobs"] == {"content": [*logs[0]["content"], *logs[1]["content"]]}
    assert replays_exactly(OPENAI_CHAT, events, recording)


@pytest.mark.parametrize("named", [True, False])
def test_a_call_may_end_with_the_name_of_its_tool(named: bool) -> None:
    golden = next(one for one in ALL if str(one) == "openai.responses-tools_parallel")
    end = "response.function_call_arguments.done"
    names = {0: "get_weather", 1: "get_time"}
    events = [
        {**event, "name": names[event["output_index"]]} if named and event["type"] == end else event
        for event in golden.events
    ]
    assert sum("name" in event for event in events) == (2 if named else 0)
    recording = record(golden.protocol, events)
    assert replays_exactly(golden.protocol, events, recording)
