"""Requests that never come from the cache, and requests that are bound to a credential."""

from __future__ import annotations

import pytest

from cachecore_llm.key import Bypass, Keyed, key_of
from cachecore_llm.wire import PROTOCOLS, Call, JsonObject, ProtocolName
from tests.llm.key.asking import chat, messages, objects, responses


@pytest.mark.parametrize(
    ("protocol", "body", "names"),
    [
        ("openai.chat", chat({"type": "file", "file": {"file_id": "f"}}), {"file_id"}),
        ("openai.chat", {"messages": [{"role": "assistant", "audio": {"id": "a"}}]}, {"audio"}),
        ("openai.responses", responses({"type": "item_reference", "id": "i"}), {"id"}),
        (
            "openai.responses",
            responses(tools=[{"type": "file_search", "vector_store_ids": ["v"]}]),
            {"vector_store_ids"},
        ),
        ("openai.responses", responses(tools=[{"type": "code_interpreter", "container": "c"}]), {"container"}),
        ("openai.responses", responses(prompt={"id": "p", "version": "1"}), {"prompt"}),
        ("openai.chat", chat(), set()),
        ("anthropic.messages", messages({"type": "image", "source": {"type": "file", "file_id": "f"}}), {"file_id"}),
    ],
)
def test_objects_of_the_provider_are_named(protocol: ProtocolName, body: JsonObject, names: set[str]) -> None:
    assert objects(protocol, body) == names


@pytest.mark.parametrize(
    ("protocol", "body", "reason"),
    [
        ("openai.responses", responses(tools=[{"type": "mcp", "server_label": "s"}]), "a tool of the kind mcp"),
        ("openai.responses", responses(tools=[{"type": "shell"}]), "a tool of the kind shell"),
        ("openai.responses", responses(tools=[{"type": "unheard_of"}]), "a tool of the kind unheard_of"),
        (
            "openai.responses",
            responses({"type": "additional_tools", "tools": [{"type": "mcp", "server_label": "s"}]}),
            "a tool of the kind mcp",
        ),
        ("anthropic.messages", messages(tools=[{"type": "code_execution_20260521", "name": "c"}]), None),
        ("anthropic.messages", messages(mcp_servers=[{"name": "s", "url": "u"}]), "a tool of the kind mcp"),
        (
            "anthropic.messages",
            messages({"type": "tool_addition", "tool": {"type": "tool_definition", "definition": {"type": "act_1"}}}),
            "a tool of the kind act_1",
        ),
        (
            "anthropic.messages",
            messages(
                {
                    "type": "compaction",
                    "tool_changes": [
                        {"type": "tool_addition", "tool": {"type": "tool_definition", "definition": {"type": "act_1"}}}
                    ],
                }
            ),
            "a tool of the kind act_1",
        ),
        ("anthropic.messages", messages(max_tokens=0), "max_tokens is 0"),
    ],
)
def test_requests_with_effects_are_not_cached(protocol: ProtocolName, body: JsonObject, reason: str | None) -> None:
    call = Call(protocol=protocol, endpoint="e", body=body)
    facts = PROTOCOLS[protocol].parse(body)
    assert key_of(call, facts) == Bypass(reason=reason or "a tool of the kind code_execution_20260521")
    if facts.tools:
        names = {facts.tools[0].name or facts.tools[0].kind}
        assert isinstance(key_of(call, facts, allowed_tools=names), Keyed)


@pytest.mark.parametrize(
    ("protocol", "body"),
    [
        ("openai.chat", chat(tools=[{"type": "function", "function": {"name": "f"}}], web_search_options={})),
        ("openai.responses", responses(tools=[{"type": "web_search"}, {"type": "file_search"}, {"type": "computer"}])),
        ("openai.responses", responses(tools=[{"type": "shell", "environment": {"type": "local"}}])),
        (
            "anthropic.messages",
            messages(tools=[{"type": "web_fetch_20250910"}, {"type": "bash_20250124"}, {"name": "f"}]),
        ),
        ("anthropic.messages", messages({"type": "tool_addition", "tool": {"type": "tool_reference", "name": "f"}})),
    ],
)
def test_tools_without_effects_are_cached(protocol: ProtocolName, body: JsonObject) -> None:
    assert isinstance(key_of(Call(protocol=protocol, endpoint="e", body=body), PROTOCOLS[protocol].parse(body)), Keyed)
