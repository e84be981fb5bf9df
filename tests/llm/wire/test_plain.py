"""The protocol of providers without a wire: what is read from a question, an answer, and a stream made of one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachecore_llm.wire import PLAIN, JsonObject, RequestFacts, UnreadableRequestError, record, replays_exactly


def parse(user_message: Any = "hi", context: Any = None, **params: Any) -> RequestFacts:
    return PLAIN.parse({"system_prompt": "", "user_message": user_message, "context": context, "params": params})


def test_a_question_is_read() -> None:
    facts = parse(
        "hi", [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], model="m", max_tokens=9
    )
    assert (facts.model, facts.user_turns, facts.max_output_tokens, facts.output) == ("m", 2, 9, "text")


@pytest.mark.parametrize(
    ("params", "output"),
    [
        ({}, "text"),
        ({"response_format": {"type": "json_object"}}, "json"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}}}, "schema"),
        ({"text": {"format": {"type": "json_schema", "schema": {"type": "object"}}}}, "schema"),
        ({"format": "json"}, "json"),
        ({"json_mode": True}, "json"),
        ({"response_mime_type": "application/json; charset=utf-8"}, "json"),
    ],
)
def test_the_form_of_the_answer_is_read(params: JsonObject, output: str) -> None:
    facts = parse(**params)
    assert facts.output == output
    assert facts.schema == ({"type": "object"} if output == "schema" else None)


def test_tools_and_media_are_read() -> None:
    facts = parse(
        [{"type": "image_url", "image_url": {"url": "u"}}], tools=[{"type": "function", "name": "f"}, object()]
    )
    assert facts.media == {"image"}
    assert [offer.name for offer in facts.tools] == ["f", None]


def test_a_question_of_another_type_is_refused() -> None:
    with pytest.raises(UnreadableRequestError, match="user_message"):
        parse(5)


def test_an_answer_is_read() -> None:
    facts = PLAIN.facts(
        {
            "content": "",
            "model": "m",
            "finish_reason": "tool_use",
            "reasoning": "why",
            "usage": {"prompt_tokens": 3, "completion_tokens": 2, "cached_tokens": 1, "reasoning_tokens": 1},
            "tool_calls": [{"id": "1", "name": "f", "arguments": "{}"}],
        }
    )
    (choice,) = facts.choices
    assert (choice.finish, choice.raw_finish, choice.reasoning) == ("tool_calls", "tool_use", "why")
    assert [call.name for call in choice.tool_calls] == ["f"]
    assert facts.usage is not None
    assert (facts.usage.total_tokens, facts.usage.cached_input_tokens, facts.usage.reasoning_tokens) == (5, 1, 1)
    assert facts.complete


def test_an_answer_without_a_finish_is_complete() -> None:
    facts = PLAIN.facts({"content": "Paris."})
    assert facts.complete
    assert (facts.choices[0].finish, facts.choices[0].raw_finish) == ("unknown", None)


@given(st.text(max_size=60), st.dictionaries(st.sampled_from(["model", "finish_reason"]), st.text(max_size=5)))
def test_a_body_comes_back_from_its_events(text: str, rest: JsonObject) -> None:
    body = {"content": text, **rest}
    events = list(PLAIN.events_of(body))
    recording = record(PLAIN, events)
    assert (recording.body, recording.complete, recording.whole) == (body, True, True)
    assert replays_exactly(PLAIN, events, recording)


@given(st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=9))
def test_pieces_come_back_as_they_came(pieces: list[str]) -> None:
    events: list[JsonObject] = [*({"text": piece} for piece in pieces), {"end": {"model": "m"}}]
    recording = record(PLAIN, events)
    assert recording.body is not None
    assert recording.body["content"] == "".join(pieces)
    assert list(PLAIN.events_of(recording.body, recording.pieces)) == events


def test_a_stream_that_was_cut_is_incomplete() -> None:
    recording = record(PLAIN, [{"text": "Once upon"}])
    assert recording.body == {"content": "Once upon"}
    assert not recording.complete
