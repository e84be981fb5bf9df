"""Which requests never come from the cache, because they have state or effects at the provider."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any, Final

from cachecore_llm.key.fields import Verdict, named
from cachecore_llm.wire import PROTOCOLS
from cachecore_llm.wire.call import Call, JsonObject, RequestFacts, ToolOffer
from cachecore_llm.wire.facts import as_object, as_objects

_HARMLESS: Final = (
    *("web_search", "web_fetch", "file_search", "tool_search", "image_generation", "advisor_"),
    "namespace",  # holds tools that the caller runs
    "mcp_toolset",  # names a server that the request offers elsewhere
)
"""How kinds of tools begin that run at the provider and change nothing. Any other kind may act."""

_MORE_TOOLS: Final = frozenset({"additional_tools", "tool_search_output"})
"""Types of items that offer tools in the middle of a conversation."""


def bypass_reason(call: Call, facts: RequestFacts, allowed: AbstractSet[str]) -> str | None:
    """Return why the answer to `call` is never cached, None if it may be.

    The reason names a field, and the kind of a tool; it holds nothing else of the body. `allowed`: names or kinds of
    tools that run at the provider and shall count as harmless.
    """
    for name in named(call.protocol, Verdict.BYPASS):
        if _is_given(call.body, name):
            return name
    if call.protocol == "anthropic.messages" and facts.max_output_tokens == 0:
        return "max_tokens is 0"
    for offer in (*facts.tools, *_offered_later(call)):
        if (
            not offer.by_caller
            and not offer.kind.startswith(_HARMLESS)
            and allowed.isdisjoint({offer.kind, offer.name})
        ):
            return f"a tool of the kind {offer.kind}"
    return None


def _is_given(body: JsonObject, path: str) -> bool:
    outer, dot, inner = path.partition(".")
    value: Any = body.get(outer)
    if dot:
        value = as_object(value).get(inner)
    if path == "prompt" and isinstance(value, dict) and value.get("version") is not None:
        return False
    return value is not None and value is not False


def _offered_later(call: Call) -> tuple[ToolOffer, ...]:
    """Return the tools that are offered in the middle of a conversation."""
    found: list[JsonObject] = []
    if call.protocol == "openai.responses":
        for item in as_objects(call.body.get("input")):
            if item.get("type") in _MORE_TOOLS:
                found += as_objects(item.get("tools"))
    elif call.protocol == "anthropic.messages":
        for message in as_objects(call.body.get("messages")):
            for block in as_objects(message.get("content")):
                found += map(_definition, (block, *as_objects(block.get("tool_changes"))))
    found = list(filter(None, found))
    return PROTOCOLS[call.protocol].parse({"tools": found}).tools if found else ()


def _definition(block: JsonObject) -> JsonObject:
    """Return the tool that a block defines; empty if none. One that it refers to is offered elsewhere in the body."""
    is_addition = block.get("type") == "tool_addition"
    return as_object(as_object(block.get("tool")).get("definition")) if is_addition else {}
