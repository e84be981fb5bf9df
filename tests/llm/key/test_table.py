"""Every parameter that the installed SDKs know has a row with a verdict and a reason."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any, get_type_hints

import anthropic
import openai
import pytest
from anthropic.types import message_create_params as messages
from anthropic.types.beta import message_create_params as beta_messages
from openai.types import embedding_create_params as embeddings
from openai.types.beta import response_create_params as beta_responses
from openai.types.chat import ChatCompletion
from openai.types.chat import completion_create_params as chat
from openai.types.responses import Response
from openai.types.responses import response_create_params as responses

from cachecore_llm import LLMResponse
from cachecore_llm.key import TABLE, Bypass, Keyed, RefusedFieldError, Row, Verdict, key_of
from cachecore_llm.wire import PROTOCOLS, Call, JsonObject, ProtocolName

OPENAI = openai.OpenAI(api_key="none")
ANTHROPIC = anthropic.Anthropic(api_key="none")

TYPES: dict[ProtocolName, list[type]] = {
    "openai.chat": [chat.CompletionCreateParamsNonStreaming, chat.CompletionCreateParamsStreaming],
    "openai.responses": [
        responses.ResponseCreateParamsNonStreaming,
        responses.ResponseCreateParamsStreaming,
        beta_responses.ResponseCreateParamsNonStreaming,
        beta_responses.ResponseCreateParamsStreaming,
    ],
    "openai.embeddings": [embeddings.EmbeddingCreateParams],
    "anthropic.messages": [
        messages.MessageCreateParamsNonStreaming,
        messages.MessageCreateParamsStreaming,
        beta_messages.MessageCreateParamsNonStreaming,
        beta_messages.MessageCreateParamsStreaming,
    ],
}
METHODS: dict[ProtocolName, list[Callable[..., Any]]] = {
    "openai.chat": [OPENAI.chat.completions.create],
    "openai.responses": [OPENAI.responses.create, OPENAI.beta.responses.create],
    "openai.embeddings": [OPENAI.embeddings.create],
    "anthropic.messages": [ANTHROPIC.messages.create, ANTHROPIC.beta.messages.create],
}
SPLIT: dict[str, list[type]] = {
    "prompt_cache_options": [chat.PromptCacheOptions, responses.PromptCacheOptions, beta_responses.PromptCacheOptions]
}
"""Parameters whose fields have rows of their own, with their types."""

PROTOCOL_NAMES: list[ProtocolName] = list(TABLE)
ROWS = [(protocol, row) for protocol, rows in TABLE.items() for row in rows]


def listed(types: list[type], methods: list[Callable[..., Any]]) -> Iterator[str]:
    """Yield the parameters of types and methods, and the fields of those parameters that are split."""
    for kind in types:
        yield from get_type_hints(kind)
    for method in methods:
        yield from inspect.signature(method).parameters
    for name, kinds in SPLIT.items():
        if any(name in get_type_hints(kind) for kind in types):
            yield from (f"{name}.{field}" for kind in kinds for field in get_type_hints(kind))


def without_row(protocol: ProtocolName, types: list[type], methods: list[Callable[..., Any]]) -> set[str]:
    return set(listed(types, methods)) - {row.name for row in TABLE[protocol]}


@pytest.mark.parametrize("protocol", [protocol for protocol in PROTOCOL_NAMES if protocol in TYPES])
def test_every_parameter_has_a_row(protocol: ProtocolName) -> None:
    names = list(listed(TYPES[protocol], METHODS[protocol]))
    assert "model" in names
    assert without_row(protocol, TYPES[protocol], METHODS[protocol]) == set(), "decide about them in key/fields.py"


def test_a_new_parameter_is_noticed() -> None:
    class Newer(chat.CompletionCreateParamsNonStreaming):  # as the next version of the SDK may
        clairvoyance: bool

    def create(*, model: str, telepathy: int) -> None: ...

    assert without_row("openai.chat", [Newer], [create]) == {"clairvoyance", "telepathy"}


@pytest.mark.parametrize("protocol", PROTOCOL_NAMES)
def test_a_parameter_without_a_row_is_keyed(protocol: ProtocolName) -> None:
    assert request(protocol, {"clairvoyance": 1}) != request(protocol, {"clairvoyance": 2})
    assert request(protocol, {"clairvoyance": 1}) != request(protocol, {})


@pytest.mark.parametrize("protocol", PROTOCOL_NAMES)
def test_no_parameter_has_two_rows_and_each_has_a_reason(protocol: ProtocolName) -> None:
    names = [row.name for row in TABLE[protocol]]
    assert len(names) == len(set(names))
    assert all(row.reason for row in TABLE[protocol])


def ask(protocol: ProtocolName, fields: JsonObject) -> Keyed | Bypass:
    call = Call(protocol=protocol, endpoint="https://host/v1", body={**BODIES[protocol], **fields})
    return key_of(call, PROTOCOLS[protocol].parse(call.body), allowed_tools={"s"})


def request(protocol: ProtocolName, fields: JsonObject) -> JsonObject:
    found = ask(protocol, fields)
    assert isinstance(found, Keyed)
    return found.request


USER = {"role": "user", "content": "hi"}
BODIES: dict[ProtocolName, JsonObject] = {
    "openai.chat": {"model": "m", "messages": [USER]},
    "openai.responses": {"model": "m", "input": "hi"},
    "openai.embeddings": {"model": "m", "input": "hi"},
    "anthropic.messages": {"model": "m", "max_tokens": 5, "messages": [USER]},
    "plain": {"system_prompt": "s", "user_message": "hi", "context": None, "params": {}},
}
OBJECT = {"type": "x", "a": 1}
GIVEN: JsonObject = {
    **{key: [{"role": "user", "content": "other", "name": "s"}] for key in ("messages", "mcp_servers")},
    **{key: [{"type": "custom", "name": "f", "custom": {"name": "f"}}] for key in ("tools", "functions")},
    **dict.fromkeys(("stream", "store", "background", "logprobs", "parallel_tool_calls"), False),
    **dict.fromkeys(("max_tokens", "max_completion_tokens", "max_output_tokens", "n"), 7),
    **{key: ["x"] for key in ("modalities", "betas", "include", "stop_sequences")},
    **dict.fromkeys(("web_search_options", "output_config", "text", "response_format", "stream_options"), OBJECT),
    **{key: {**OBJECT, "version": "2"} for key in ("output_format", "prompt")},
    "params": {"clairvoyance": 1},
}
"""A value for each parameter that is not a text, other than that of `BODIES`."""


def given(row: Row, value: Any) -> JsonObject:
    outer, dot, inner = row.name.partition(".")
    return {outer: {inner: value} if dot else value}


@pytest.mark.parametrize(("protocol", "row"), ROWS, ids=lambda one: one if isinstance(one, str) else one.name)
def test_the_verdict_is_what_happens(protocol: ProtocolName, row: Row) -> None:
    if row.verdict is Verdict.REFUSED:
        with pytest.raises(RefusedFieldError, match=row.name) as raised:
            ask(protocol, given(row, {"Authorization": "s3cret"}))
        assert "s3cret" not in str(raised.value)
    elif row.verdict is Verdict.BYPASS:
        assert ask(protocol, given(row, {"id": "x"})) == Bypass(reason=row.name)
        assert isinstance(ask(protocol, given(row, None)), Keyed)
    else:
        changed = request(protocol, given(row, GIVEN.get(row.name, "other")))
        assert (changed == request(protocol, {})) is (row.verdict is Verdict.NOT_KEYED)


ANSWERS: dict[ProtocolName, set[str]] = {
    "openai.chat": set(ChatCompletion.model_fields),
    "openai.responses": set(Response.model_fields),
    "openai.embeddings": set(openai.types.CreateEmbeddingResponse.model_fields),
    "anthropic.messages": set(anthropic.types.beta.BetaMessage.model_fields),
    "plain": set(LLMResponse.__struct_fields__),
}
"""Fields of an answer."""


@pytest.mark.parametrize("protocol", PROTOCOL_NAMES)
def test_an_echo_of_what_is_not_keyed_is_known_to_the_wire(protocol: ProtocolName) -> None:
    """A field of the answer that repeats an unkeyed field of the request is read from the asking caller's request."""
    unkeyed = {row.name.split(".")[0] for row in TABLE[protocol] if row.verdict is Verdict.NOT_KEYED}
    echoed = {field: {"a": "b"} for field in unkeyed & ANSWERS[protocol]}
    others = {"user": "u"} if "user" in echoed else {}
    facts = PROTOCOLS[protocol].parse({**BODIES[protocol], **echoed, **others})
    assert echoed.keys() <= facts.echoed.keys()
