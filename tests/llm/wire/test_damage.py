"""Well-formed streams, answers and requests, damaged at any place: nothing raises."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cachecore_llm.wire import (
    ANTHROPIC_MESSAGES,
    OPENAI_CHAT,
    OPENAI_EMBEDDINGS,
    OPENAI_RESPONSES,
    JsonObject,
    RequestFacts,
    UnreadableRequestError,
    WireProtocol,
    record,
    replays_exactly,
)
from tests.llm.wire import strategies as by_chance
from tests.llm.wire.golden import ALL, Golden

WHOLE_CALLER = RequestFacts(model=None)
odd = st.one_of(
    by_chance.json_values,
    st.sampled_from([[], {}, [[]], [{}], {"a": {}}, -1, 0, 10**30, True, 1.5, "", "0:1", "a/b~c", "\ud83d", None]),
)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each container in `value` with each of its keys or indices."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in list(inner):
        yield value, key
        yield from places(one)


def damaged(value: Any, data: st.DataObject) -> Any:
    """Return a copy of `value` in which one to three values are others, or gone."""
    value = copy.deepcopy(value)
    for _ in range(data.draw(st.integers(1, 3))):
        container, key = data.draw(st.sampled_from(list(places(value)) or [([None], 0)]))
        if isinstance(container, dict) and data.draw(st.booleans()):
            del container[key]
        else:
            container[key] = copy.deepcopy(data.draw(odd))  # it may be damaged in its turn
    return value


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(ALL), st.data())
def test_damaged_events_are_taken(golden: Golden, data: st.DataObject) -> None:
    protocol = golden.protocol
    events = [event for event in damaged(golden.events, data) if isinstance(event, dict)]
    neutral = [protocol.neutral(event) for event in events]
    for event in neutral:
        protocol.shown_to(event, WHOLE_CALLER)
        protocol.frame(event)
    recording = record(protocol, neutral, golden.request)
    replays_exactly(protocol, neutral, recording)
    if recording.body is not None:
        assert not (recording.complete and recording.error)
        list(protocol.events_of(recording.body, recording.pieces))
        if recording.pieces is not None:
            recording.pieces.encode()


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([golden for golden in ALL if golden.right["body"]]), st.data())
def test_damaged_answers_are_taken(golden: Golden, data: st.DataObject) -> None:
    """The pieces of the sound answer are given with the damaged one, as if the entry had been changed."""
    protocol = golden.protocol
    pieces = record(protocol, golden.events, golden.request).pieces
    body = protocol.neutral(damaged(golden.right["body"], data))
    facts = protocol.facts(body)
    assert not (facts.complete and facts.error)
    protocol.shown_to(body, WHOLE_CALLER)
    for given_pieces in (pieces, None):
        events = list(protocol.events_of(body, given_pieces))
        record(protocol, events, golden.request)


REQUESTS: list[tuple[WireProtocol, JsonObject]] = [
    (
        OPENAI_CHAT,
        {
            "model": "m",
            "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "u"}}]}],
            "tools": [{"type": "function", "function": {"name": "f"}}],
            "response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}},
            "stream_options": {"include_usage": True},
            "modalities": ["text"],
        },
    ),
    (
        OPENAI_RESPONSES,
        {
            "model": "m",
            "input": [{"role": "user", "content": [{"type": "input_image"}]}, {"output": {"type": "input_file"}}],
            "tools": [{"type": "shell", "environment": {"type": "local"}}, {"type": "mcp", "server_label": "s"}],
            "text": {"format": {"type": "json_schema", "schema": {"type": "object"}}},
        },
    ),
    (
        ANTHROPIC_MESSAGES,
        {
            "model": "m",
            "max_tokens": 5,
            "messages": [{"role": "user", "content": [{"type": "tool_result", "content": [{"type": "image"}]}]}],
            "tools": [{"type": "custom", "name": "f"}],
            "mcp_servers": [{"name": "s"}],
            "output_config": {"format": {"type": "json_schema", "schema": {}}},
        },
    ),
    (OPENAI_EMBEDDINGS, {"model": "m", "input": [[1, 2], [3]]}),
]


@settings(max_examples=100, deadline=None)
@given(st.data())
@pytest.mark.parametrize(("protocol", "body"), REQUESTS, ids=lambda value: getattr(value, "name", ""))
def test_damaged_requests_are_read_or_refused(protocol: WireProtocol, body: JsonObject, data: st.DataObject) -> None:
    asked = damaged(body, data)
    try:
        facts = protocol.parse(asked)
    except UnreadableRequestError:
        return
    assert facts.model is None or facts.model == asked["model"]
    assert facts.n >= 1
