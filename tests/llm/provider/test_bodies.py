"""Any JSON is answered or refused: reading and answering raise nothing but a refusal."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cachecore_llm.testing.provider import LocalProvider
from cachecore_llm.testing.provider.answer import answers
from cachecore_llm.testing.provider.directives import DirectiveError, Directives
from cachecore_llm.testing.provider.fields import RejectedError
from cachecore_llm.testing.provider.fresh import Fresh
from cachecore_llm.testing.provider.service import PROTOCOLS
from tests.llm.provider import test_anthropic, test_chat, test_responses, wire

KINDS: dict[str, list[dict[str, Any]]] = {
    wire.CHAT: list(test_chat.KINDS.values()),
    wire.RESPONSES: list(test_responses.KINDS.values()),
    wire.MESSAGES: list(test_anthropic.KINDS.values()),
    wire.EMBEDDINGS: [{"model": "m", "input": ["a", "b"], "dimensions": 3, "encoding_format": "base64"}],
}
FIELDS = [
    "model",
    "messages",
    "input",
    "n",
    "stop",
    "tools",
    "tool_choice",
    "functions",
    "response_format",
    "text",
    "reasoning",
    "include",
    "modalities",
    "stream",
    "user",
    "stream_options",
    "logprobs",
    "top_logprobs",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "metadata",
    "thinking",
    "system",
    "output_config",
    "instructions",
    "stop_sequences",
    "reasoning_effort",
    "dimensions",
    "encoding_format",
]
scalars = st.none() | st.booleans() | st.integers(-5, 2**70) | st.floats(allow_nan=False) | st.text(max_size=5)
names = st.sampled_from(
    ["type", "role", "content", "text", "name", "function", "format", "schema", "image_url", "source", "data"]
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=6
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the way to every part of a JSON value."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for name, part in parts for place in places(part, (*path, name)))]


def replaced(body: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    made = copy.deepcopy(body)
    at: Any = made
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return made


@pytest.mark.parametrize("path", KINDS)
@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_no_body_breaks_the_provider(path: str, data: st.DataObject) -> None:
    protocol = PROTOCOLS[path]
    body = data.draw(st.sampled_from(KINDS[path]))
    value = data.draw(values)
    field = data.draw(st.sampled_from(FIELDS).map(lambda name: (name,)) | st.sampled_from(places(body)[1:]))
    body = msgspec.json.decode(msgspec.json.encode(replaced(body, field, value)))
    try:
        protocol.prompt(body)
        ask = protocol.read(body, Directives(), "")
        whole = protocol.whole(ask, answers(ask), Fresh())
    except (RejectedError, DirectiveError):
        return
    msgspec.json.encode(whole)
    if protocol.events is not None:
        assert list(protocol.events(ask, whole, Fresh()))


@pytest.mark.parametrize("path", KINDS)
async def test_deep_bodies_are_refused(path: str, provider: LocalProvider) -> None:
    """How deep is too deep depends on the Python version; no depth breaks the provider."""
    for depth in (300, 900, 5000, 500_000):
        nested = "[" * depth + "]" * depth
        fields = f'"input": {nested}, "messages": [{{"role": "user", "content": {nested}}}]'
        body = f'{{"model": "m", "max_tokens": 9, {fields}}}'.encode()
        status, _, _ = await wire.post(provider.port, path, body)
        assert status in ((200, 400) if depth < 5000 else (400,))
