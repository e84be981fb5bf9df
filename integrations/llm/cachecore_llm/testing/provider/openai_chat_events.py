"""`openai.chat`: a body as the chunks of a stream, and the chunks of compatible servers. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from cachecore_llm.testing.provider import errors, openai_chat
from cachecore_llm.testing.provider.ask import Ask, pieces, tokens
from cachecore_llm.testing.provider.directives import DEVIATIONS
from cachecore_llm.testing.provider.fresh import Fresh
from cachecore_llm.testing.provider.protocol import Event, Protocol


def events(ask: Ask, body: dict[str, Any], fresh: Fresh) -> Iterator[Event]:
    """Yield the chunks from which a client assembles `body`; several choices alternate."""
    compat = ask.directives.compat
    options = ask.options
    head = {
        "id": body["id"],
        "object": "chat.completion.chunk",
        "created": body["created"],
        "model": body["model"],
        "service_tier": body["service_tier"],
        "system_fingerprint": body["system_fingerprint"],
    }
    with_usage = options.get("include_usage") is True
    if with_usage:
        head["usage"] = None
    padded = options.get("include_obfuscation") is not False
    if "empty-first" in compat:
        filters = [{"prompt_index": 0, "content_filter_results": {"hate": {"filtered": False, "severity": "safe"}}}]
        yield Event(None, {**head, "id": "", "model": "", "choices": [], "prompt_filter_results": filters})
    each = [_choice(ask, choice) for choice in body["choices"]]
    for number, choice in enumerate(itertools.chain.from_iterable(itertools.zip_longest(*each)), 1):
        if choice is None:
            continue
        chunk = {**head, "choices": [choice]}
        if "usage-everywhere" in compat:
            prompt = body["usage"]["prompt_tokens"]
            chunk["usage"] = {"prompt_tokens": prompt, "completion_tokens": number, "total_tokens": prompt + number}
        if padded:
            chunk["obfuscation"] = fresh.padding(number)
        yield Event(None, chunk)
    if with_usage:
        yield Event(None, {**head, "choices": [], "usage": body["usage"]})
    if "no-done" not in compat:
        yield Event(None, "[DONE]")


def _choice(ask: Ask, choice: dict[str, Any]) -> Iterator[dict[str, Any]]:
    index, message = choice["index"], choice["message"]
    logprobs = choice["logprobs"]

    def part(delta: dict[str, Any], logs: Any = None, finish: str | None = None) -> dict[str, Any]:
        return {"index": index, "delta": delta, "logprobs": logs, "finish_reason": finish}

    yield part({"role": "assistant", "content": "" if message["content"] is not None else None, "refusal": None})
    for text in pieces(message.get("reasoning_content") or "", ask.directives.chunks):
        yield part({"reasoning_content": text})
    for field in ("content", "refusal"):
        yield from _text(ask, field, message[field], logprobs and logprobs[field], part)
    for number, call in enumerate(message.get("tool_calls", ())):
        yield from _tool(ask, number, call, part)
    if "function_call" in message:
        function = message["function_call"]
        yield part({"function_call": {"name": function["name"], "arguments": ""}})
        for text in pieces(function["arguments"], ask.directives.chunks):
            yield part({"function_call": {"arguments": text}})
    if "audio" in message:
        yield from _audio(ask, message["audio"], part)
    if "vendor_extension" in message:
        yield part({"vendor_extension": message["vendor_extension"]})
    last: dict[str, Any] = {"annotations": message["annotations"]} if message["annotations"] else {}
    finish = choice["finish_reason"]
    if finish == "tool_calls" and "stop-for-tools" in ask.directives.compat:
        finish = "stop"
    ended = part(last, finish=finish)
    if "content_filter_results" in choice:
        ended["content_filter_results"] = choice["content_filter_results"]
    yield ended
    if "audio" in message:
        yield part({"audio": {"expires_at": message["audio"]["expires_at"]}})


def _text(ask: Ask, field: str, text: str | None, logs: Any, part: Any) -> Iterator[dict[str, Any]]:
    if text is None:
        return
    count = ask.directives.chunks
    if not logs:
        for piece in pieces(text, count):
            yield part({field: piece})
        return
    # Log probabilities belong to whole tokens, so that pieces of a token cannot be sent.
    at = 0
    for piece in pieces(text, None if count is None else min(count, len(logs))):
        after = at + len(tokens(piece))
        empty = {"content": None, "refusal": None}
        yield part({field: piece}, {**empty, field: logs[at:after]})
        at = after


def _tool(ask: Ask, number: int, call: dict[str, Any], part: Any) -> Iterator[dict[str, Any]]:
    if "whole-tools" in ask.directives.compat:
        yield part({"tool_calls": [{"index": number, **call}]})
        return
    function = call["function"]
    yield part({"tool_calls": [{"index": number, **call, "function": {"name": function["name"], "arguments": ""}}]})
    for text in pieces(function["arguments"], ask.directives.chunks):
        yield part({"tool_calls": [{"index": number, "function": {"arguments": text}}]})


def _audio(ask: Ask, audio: dict[str, Any], part: Any) -> Iterator[dict[str, Any]]:
    """Yield the id, then transcript and data in pieces; a piece of data is whole groups of base64, 32 a token."""
    yield part({"audio": {"id": audio["id"], "transcript": ""}})
    at = 0
    for text in pieces(audio["transcript"], ask.directives.chunks):
        after = at + 32 * len(tokens(text))
        yield part({"audio": {"transcript": text}})
        yield part({"audio": {"data": audio["data"][at:after]}})
        at = after
    if at < len(audio["data"]):
        yield part({"audio": {"data": audio["data"][at:]}})


def failure(kind: str | None, sent: int) -> list[Event]:
    """Return the error event of a stream."""
    return [Event(None, {"error": errors.openai_error(500, kind=kind)})]


PROTOCOL = Protocol(
    name=openai_chat.NAME,
    path="/v1/chat/completions",
    vendor="openai",
    read=openai_chat.read,
    whole=openai_chat.whole,
    events=events,
    failure=failure,
    deviations=frozenset(DEVIATIONS),
    prompt=openai_chat.prompt,
)
