"""`openai.responses`: a body as the events of a stream. Pure."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

from cachecore_llm.testing.provider import openai_responses
from cachecore_llm.testing.provider.ask import Ask, pieces, tokens
from cachecore_llm.testing.provider.fresh import Fresh
from cachecore_llm.testing.provider.protocol import Event, Protocol

Fields = dict[str, Any]
Say = Callable[..., tuple[str, Fields]]


def events(ask: Ask, body: dict[str, Any], fresh: Fresh) -> Iterator[Event]:
    """Yield the events from which a client assembles `body`, numbered from 0."""
    padded = ask.options.get("include_obfuscation") is not False
    for number, (kind, fields) in enumerate(_all(ask, body)):
        data = {"type": kind, "sequence_number": number, **fields}
        if padded and kind.endswith(".delta"):
            data["obfuscation"] = fresh.padding(number)
        yield Event(kind, data)


def _all(ask: Ask, body: dict[str, Any]) -> Iterator[tuple[str, Fields]]:
    begun = {
        **body,
        "status": "in_progress",
        "completed_at": None,
        "incomplete_details": None,
        "output": [],
        "usage": None,
    }
    yield "response.created", {"response": begun}
    yield "response.in_progress", {"response": begun}
    for index, item in enumerate(body["output"]):
        yield from _item(ask, index, item)
    yield f"response.{body['status']}", {"response": body}


def _item(ask: Ask, index: int, item: Fields) -> Iterator[tuple[str, Fields]]:
    at = {"output_index": index}
    empty = copy.deepcopy(item)
    if "status" in empty:
        empty["status"] = "in_progress"
    inner: Iterator[tuple[str, Fields]] = iter(())
    where = {"item_id": item["id"], **at}
    match item["type"]:
        case "message":
            empty["content"] = []
            inner = _parts(ask, item, where)
        case "reasoning":
            empty["summary"] = []
            if "content" in empty:
                empty["content"] = []
            inner = _reasoning(ask, item, where)
        case "function_call":
            empty["arguments"] = ""
            inner = _arguments(ask, item, where)
        case "web_search_call":
            inner = iter(
                [(f"response.web_search_call.{state}", where) for state in ("in_progress", "searching", "completed")]
            )
        case other:
            inner = iter([(f"response.{other}.progress", {**where, "progress": 0.5})])
    yield "response.output_item.added", {**at, "item": empty}
    yield from inner
    yield "response.output_item.done", {**at, "item": item}


def _parts(ask: Ask, item: Fields, where: Fields) -> Iterator[tuple[str, Fields]]:
    for number, part in enumerate(item["content"]):
        place = {**where, "content_index": number}
        if part["type"] == "refusal":
            yield "response.content_part.added", {**place, "part": {**part, "refusal": ""}}
            for piece in pieces(part["refusal"], ask.directives.chunks):
                yield "response.refusal.delta", {**place, "delta": piece}
            yield "response.refusal.done", {**place, "refusal": part["refusal"]}
        else:
            yield (
                "response.content_part.added",
                {**place, "part": {**part, "text": "", "annotations": [], "logprobs": []}},
            )
            yield from _text(ask, part, place)
            yield "response.output_text.done", {**place, "text": part["text"], "logprobs": _short(part["logprobs"])}
        yield "response.content_part.done", {**place, "part": part}


def _text(ask: Ask, part: Fields, place: Fields) -> Iterator[tuple[str, Fields]]:
    logs, count = part["logprobs"], ask.directives.chunks
    if logs and count is not None:
        count = min(count, len(logs))  # log probabilities belong to whole tokens
    at = 0
    for piece in pieces(part["text"], count):
        after = at + len(tokens(piece)) if logs else 0
        yield "response.output_text.delta", {**place, "delta": piece, "logprobs": _short(logs[at:after])}
        at = after
    for number, annotation in enumerate(part["annotations"]):
        yield "response.output_text.annotation.added", {**place, "annotation_index": number, "annotation": annotation}


def _short(logs: list[Fields]) -> list[Fields]:
    """Return log probabilities as events carry them: without the bytes of the tokens."""
    return [
        {
            "token": log["token"],
            "logprob": log["logprob"],
            "top_logprobs": [{"token": top["token"], "logprob": top["logprob"]} for top in log["top_logprobs"]],
        }
        for log in logs
    ]


def _reasoning(ask: Ask, item: Fields, where: Fields) -> Iterator[tuple[str, Fields]]:
    for number, part in enumerate(item["summary"]):
        place = {**where, "summary_index": number}
        yield "response.reasoning_summary_part.added", {**place, "part": {**part, "text": ""}}
        for piece in pieces(part["text"], ask.directives.chunks):
            yield "response.reasoning_summary_text.delta", {**place, "delta": piece}
        yield "response.reasoning_summary_text.done", {**place, "text": part["text"]}
        yield "response.reasoning_summary_part.done", {**place, "part": part}
    for number, part in enumerate(item.get("content", ())):
        place = {**where, "content_index": number}
        yield "response.content_part.added", {**place, "part": {**part, "text": ""}}
        for piece in pieces(part["text"], ask.directives.chunks):
            yield "response.reasoning_text.delta", {**place, "delta": piece}
        yield "response.reasoning_text.done", {**place, "text": part["text"]}
        yield "response.content_part.done", {**place, "part": part}


def _arguments(ask: Ask, item: Fields, where: Fields) -> Iterator[tuple[str, Fields]]:
    for piece in pieces(item["arguments"], ask.directives.chunks):
        yield "response.function_call_arguments.delta", {**where, "delta": piece}
    yield "response.function_call_arguments.done", {**where, "name": item["name"], "arguments": item["arguments"]}


def failure(kind: str | None, sent: int) -> list[Event]:
    """Return the error event of a stream."""
    message = "The server had an error processing your request. Sorry about that!"
    data = {"type": "error", "sequence_number": sent, "code": kind or "server_error", "message": message, "param": None}
    return [Event("error", data)]


PROTOCOL = Protocol(
    name=openai_responses.NAME,
    path="/v1/responses",
    vendor="openai",
    read=openai_responses.read,
    whole=openai_responses.whole,
    events=events,
    failure=failure,
    deviations=frozenset(("comments", "crlf", "no-space", "error-200")),
    prompt=openai_responses.prompt,
)
