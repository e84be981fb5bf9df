"""What the providers' own SDKs make of an answer: real clients, fed with bytes by a transport in memory."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import httpx2
from anthropic import Anthropic
from openai import OpenAI

from cachecore_llm.wire import JsonObject, ProtocolName


def _client(body: bytes, kind: str) -> httpx2.Client:
    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": kind}, content=body)

    return httpx2.Client(transport=httpx2.MockTransport(answer))


def _openai(body: bytes, kind: str) -> OpenAI:
    return OpenAI(api_key="none", base_url="http://provider.invalid/v1", max_retries=0, http_client=_client(body, kind))


def _anthropic(body: bytes, kind: str) -> Anthropic:
    client = _client(body, kind)
    return Anthropic(api_key="none", base_url="http://provider.invalid", max_retries=0, http_client=client)


_STREAM, _JSON = "text/event-stream", "application/json"


def _chat_stream(sent: bytes) -> Any:
    with _openai(sent, _STREAM).chat.completions.stream(model="m", messages=[]) as stream:
        stream.until_done()
        return stream.current_completion_snapshot  # the final one raises where the answer was cut at its length


def _responses_stream(sent: bytes) -> Any:
    with _openai(sent, _STREAM).responses.stream(model="m", input="x") as stream:
        return stream.get_final_response()


def _messages_stream(sent: bytes) -> Any:
    with _anthropic(sent, _STREAM).messages.stream(model="m", messages=[], max_tokens=9) as stream:
        return stream.get_final_message()


_STREAMED: Mapping[ProtocolName, Callable[[bytes], Any]] = {
    "openai.chat": _chat_stream,
    "openai.responses": _responses_stream,
    "anthropic.messages": _messages_stream,
}

_WHOLE: Mapping[ProtocolName, Callable[[bytes], Any]] = {
    "openai.chat": lambda sent: _openai(sent, _JSON).chat.completions.create(model="m", messages=[]),
    "openai.responses": lambda sent: _openai(sent, _JSON).responses.create(model="m", input="x"),
    "openai.embeddings": lambda sent: _openai(sent, _JSON).embeddings.create(model="m", input="x"),
    "anthropic.messages": lambda sent: _anthropic(sent, _JSON).messages.create(model="m", messages=[], max_tokens=9),
}

_EVENTS: Mapping[ProtocolName, Callable[[bytes], Any]] = {
    "openai.chat": lambda sent: _openai(sent, _STREAM).chat.completions.create(model="m", messages=[], stream=True),
    "openai.responses": lambda sent: _openai(sent, _STREAM).responses.create(model="m", input="x", stream=True),
    "anthropic.messages": lambda sent: _anthropic(sent, _STREAM).messages.create(
        model="m", messages=[], max_tokens=9, stream=True
    ),
}


def streamed(protocol: ProtocolName, sent: bytes) -> Any:
    """Return what the SDK's own accumulator makes of a stream, as plain data."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the SDK serialises items that it does not know, and says so
        return _STREAMED[protocol](sent).model_dump(warnings=False)


def events(protocol: ProtocolName, sent: bytes) -> list[Any]:
    """Return the events that an application gets of a stream, as plain data."""
    return [event.model_dump(warnings=False) for event in _EVENTS[protocol](sent)]


def whole(protocol: ProtocolName, body: JsonObject) -> Any:
    """Return what the SDK makes of a body that was not streamed, as plain data."""
    return _WHOLE[protocol](json.dumps(body).encode()).model_dump(warnings=False)


_HELPERS = frozenset({"parsed", "parsed_arguments", "parsed_output"})


def said(value: Any) -> Any:
    """Return the SDK's data without null fields, and without what only its accumulators add."""
    if isinstance(value, dict):
        fields = {key: said(inner) for key, inner in value.items() if inner is not None and key not in _HELPERS}
        if "function" in fields or "custom" in fields:
            fields.pop("index", None)  # of a tool call: its place in the list says the same
        return fields
    return [said(inner) for inner in value] if isinstance(value, list) else value
