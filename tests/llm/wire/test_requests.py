"""What is read from a request body, protocol by protocol."""

from __future__ import annotations

from typing import Any

import pytest

from cachecore_llm.wire import (
    ANTHROPIC_MESSAGES,
    OPENAI_CHAT,
    OPENAI_EMBEDDINGS,
    OPENAI_RESPONSES,
    JsonObject,
    RequestFacts,
    ToolOffer,
    UnreadableRequestError,
    WireProtocol,
)

SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}}
USER = {"role": "user", "content": "hi"}


def test_chat() -> None:
    body = {
        "model": "gpt-4o",
        "messages": [
            {"role": "system", "content": "s"},
            {
                "role": "user",
                "content": [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {}}],
            },
            {"role": "assistant", "content": None, "tool_calls": []},
            {"role": "tool", "tool_call_id": "c", "content": "r"},
            {"role": "user", "content": [{"type": "input_audio", "input_audio": {}}, {"type": "file", "file": {}}]},
        ],
        "n": 2,
        "stream": True,
        "stream_options": {"include_usage": True},
        "tools": [
            {"type": "function", "function": {"name": "f", "parameters": {}}},
            {"type": "custom", "custom": {"name": "sql"}},
        ],
        "functions": [{"name": "old"}],
        "web_search_options": {},
        "response_format": {"type": "json_schema", "json_schema": {"name": "p", "schema": SCHEMA}},
        "max_tokens": 5,
        "max_completion_tokens": 7.0,
        "metadata": {"a": "b"},
    }
    assert OPENAI_CHAT.parse(body) == RequestFacts(
        model="gpt-4o",
        stream=True,
        include_usage=True,
        n=2,
        tools=(
            ToolOffer(kind="function", name="f"),
            ToolOffer(kind="custom", name="sql"),
            ToolOffer(kind="function", name="old"),
            ToolOffer(kind="web_search", by_caller=False),
        ),
        output="schema",
        schema=SCHEMA,
        media=frozenset({"image", "audio", "file"}),
        user_turns=2,
        max_output_tokens=7,
        echoed={"metadata": {"a": "b"}},
    )


def test_chat_without_anything() -> None:
    """Null is absent: the SDK sends `stop=None` so."""
    body = {"model": "m", "messages": [USER], "n": None, "stream": None, "tools": None, "stream_options": None}
    assert OPENAI_CHAT.parse(body) == RequestFacts(model="m", user_turns=1)
    assert OPENAI_CHAT.parse({**body, "response_format": {"type": "json_object"}}).output == "json"
    assert OPENAI_CHAT.parse({**body, "modalities": ["text", "audio"]}).media == {"audio"}


def test_responses() -> None:
    body = {
        "model": "gpt-5",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "x"}, {"type": "input_image"}]},
            {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_file"}]},
            {"type": "computer_call_output", "call_id": "c", "output": {"type": "computer_screenshot"}},
            {"type": "reasoning", "summary": []},
        ],
        "tools": [
            {"type": "function", "name": "f"},
            {"type": "web_search"},
            {"type": "mcp", "server_label": "s", "authorization": "secret"},
            {"type": "shell", "environment": {"type": "local"}},
            {"type": "shell", "environment": {"type": "container_auto"}},
        ],
        "text": {"format": {"type": "json_schema", "name": "p", "schema": SCHEMA}},
        "stream": False,
        "max_output_tokens": 9,
        "user": "u",
        "metadata": {},
        "safety_identifier": None,
    }
    facts = OPENAI_RESPONSES.parse(body)
    assert [(tool.kind, tool.name, tool.by_caller) for tool in facts.tools] == [
        ("function", "f", True),
        ("web_search", None, False),
        ("mcp", "s", False),
        ("shell", None, True),
        ("shell", None, False),
    ]
    assert (facts.output, facts.schema) == ("schema", SCHEMA)
    assert facts.media == {"image", "file"}
    assert (facts.user_turns, facts.stream, facts.include_usage, facts.max_output_tokens) == (1, False, True, 9)
    assert facts.echoed == {"user": "u", "metadata": {}}
    assert OPENAI_RESPONSES.parse({"model": "m", "input": "x"}).user_turns == 1
    assert OPENAI_RESPONSES.parse({"input": "x", "text": {"format": {"type": "json_object"}}}).output == "json"


def test_messages() -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": ""}}
    body = {
        "model": "claude",
        "max_tokens": 10,
        "stream": True,
        "messages": [
            USER,
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [image]}]},
            {"role": "user", "content": [{"type": "document"}, {"type": "text", "text": "x"}]},
        ],
        "tools": [
            {"name": "f", "input_schema": {}},
            {"type": "custom", "name": "g", "input_schema": {}},
            {"type": "bash_20250124", "name": "bash"},
            {"type": "web_search_20250305", "name": "web_search"},
        ],
        "mcp_servers": [{"type": "url", "url": "u", "name": "s"}],
        "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
    }
    facts = ANTHROPIC_MESSAGES.parse(body)
    assert [(tool.kind, tool.name, tool.by_caller) for tool in facts.tools] == [
        ("custom", "f", True),
        ("custom", "g", True),
        ("bash_20250124", "bash", True),
        ("web_search_20250305", "web_search", False),
        ("mcp", "s", False),
    ]
    assert (facts.output, facts.schema) == ("schema", SCHEMA)
    assert facts.media == {"image", "file"}
    assert (facts.user_turns, facts.stream, facts.n, facts.max_output_tokens) == (2, True, 1, 10)


@pytest.mark.parametrize(
    ("given", "inputs"),
    [
        ("a", ("a",)),
        (["a", "b"], ("a", "b")),
        ([1, 2, 3], ([1, 2, 3],)),
        ([[1, 2], [3]], ([1, 2], [3])),
        ("", ("",)),
    ],
)
def test_embeddings(given: Any, inputs: tuple[Any, ...]) -> None:
    """A list of token ids is one input."""
    facts = OPENAI_EMBEDDINGS.parse({"model": "m", "input": given})
    assert (facts.inputs, facts.n) == (inputs, len(inputs))


@pytest.mark.parametrize(
    ("protocol", "body"),
    [
        (OPENAI_CHAT, {"messages": [], "max_tokens": -1}),
        (OPENAI_CHAT, {"messages": [], "max_completion_tokens": -1, "max_tokens": -2}),
        (OPENAI_RESPONSES, {"input": "", "max_output_tokens": -1}),
        (ANTHROPIC_MESSAGES, {"messages": [], "max_tokens": -1}),
    ],
)
def test_minus_one_is_no_bound(protocol: WireProtocol, body: JsonObject) -> None:
    """As servers of open models have it."""
    assert protocol.parse(body).max_output_tokens is None


SECRET = "a prompt that must not be told"


@pytest.mark.parametrize(
    ("protocol", "body", "path"),
    [
        (OPENAI_CHAT, [SECRET], "the body"),
        (OPENAI_CHAT, {"messages": SECRET}, "messages"),
        (OPENAI_CHAT, {"messages": [USER, SECRET]}, r"messages\[1\]"),
        (OPENAI_CHAT, {"messages": [], "model": [SECRET]}, "model"),
        (OPENAI_CHAT, {"messages": [], "stream": SECRET}, "stream"),
        (OPENAI_CHAT, {"messages": [], "n": True}, "n "),
        (OPENAI_CHAT, {"messages": [], "n": -1}, "n "),
        (OPENAI_CHAT, {"messages": [], "n": 1.5}, "n "),
        (OPENAI_CHAT, {"messages": [], "modalities": [1]}, "modalities"),
        (OPENAI_RESPONSES, {"input": {"x": SECRET}}, "input"),
        (OPENAI_RESPONSES, {"input": "", "tools": {"x": SECRET}}, "tools"),
        (ANTHROPIC_MESSAGES, {"messages": [], "max_tokens": SECRET}, "max_tokens"),
        (OPENAI_EMBEDDINGS, {"input": [SECRET, 1]}, "input"),
        (OPENAI_EMBEDDINGS, {"input": []}, "input"),
        (OPENAI_EMBEDDINGS, {"input": None}, "input"),
    ],
)
def test_another_shape_is_an_error_that_names_the_field(protocol: WireProtocol, body: JsonObject, path: str) -> None:
    with pytest.raises(UnreadableRequestError, match=path) as caught:
        protocol.parse(body)
    assert SECRET not in str(caught.value)
    assert "past the cache" in str(caught.value)
