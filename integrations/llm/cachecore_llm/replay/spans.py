"""OpenTelemetry spans of calls to models (semantic conventions for generative AI), as exporters write them.

Understood are spans of OTLP JSON (attributes as a list) and of console exporters (attributes as an object), with the
messages in `gen_ai.input.messages`, in `gen_ai.prompt.N.role` and `.content`, or in events.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

_MARK: Final = "gen_ai."
_PARAMETERS: Final = {
    "gen_ai.request.model": "model",
    "gen_ai.request.temperature": "temperature",
    "gen_ai.request.top_p": "top_p",
    "gen_ai.request.max_tokens": "max_tokens",
    "gen_ai.request.frequency_penalty": "frequency_penalty",
    "gen_ai.request.presence_penalty": "presence_penalty",
    "gen_ai.request.stop_sequences": "stop",
    "gen_ai.request.seed": "seed",
    "gen_ai.openai.request.seed": "seed",
}
_NUMBERED: Final = "gen_ai.prompt."
_SAID: Final = tuple(f"gen_ai.{role}.message" for role in ("system", "user", "assistant", "tool"))
_TOOLS: Final = ("tool_calls", "name")
_IDS: Final = ("id", "tool_call_id")
_CALLS: Final = ("chat", "text_completion", "generate_content")

Found = tuple[dict[str, Any], float | None, float | None, Any, Any]
"""Body, Unix seconds of the start, seconds that it took, tokens in and out."""


def spans_in(record: Mapping[str, Any]) -> Iterator[Mapping[str, Any]] | None:
    """Yield the spans in a record of OTLP JSON; None if it is none."""
    if "resourceSpans" not in record:
        return None
    return (
        span
        for resource in _objects(record["resourceSpans"])
        for scope in _objects(resource.get("scopeSpans"))
        for span in _objects(scope.get("spans"))
    )


def is_span(record: Mapping[str, Any]) -> bool:
    """Whether `record` is a span."""
    return "attributes" in record and ("name" in record or "spanId" in record or "traceId" in record)


def call_of_span(span: Mapping[str, Any]) -> Found | str:
    """Return the chat request that a span tells of, or why it tells of none."""
    told = _attributes(span.get("attributes"))
    if not any(name.startswith(_MARK) for name in told):
        return "a span that is no call of a model"
    kind = told.get("gen_ai.operation.name")
    if kind is not None and kind not in _CALLS:
        return f"a span of the operation {kind}"
    messages = _messages(told, span)
    if not messages:
        return "a span without its messages: switch the capture of content on where it is made"
    body: dict[str, Any] = {ours: told[name] for name, ours in _PARAMETERS.items() if name in told}
    start, end = _nanoseconds(span, "start"), _nanoseconds(span, "end")
    took = None if start is None or end is None else (end - start) / 1e9
    return (
        {**body, "messages": messages},
        None if start is None else start / 1e9,
        took,
        told.get("gen_ai.usage.input_tokens", told.get("gen_ai.usage.prompt_tokens")),
        told.get("gen_ai.usage.output_tokens", told.get("gen_ai.usage.completion_tokens")),
    )


def _messages(told: Mapping[str, Any], span: Mapping[str, Any]) -> list[dict[str, Any]]:
    system = _said(told.get("gen_ai.system_instructions"))
    turns = [_turn(one) for one in _objects(_json(told.get("gen_ai.input.messages")))]
    if not turns:
        turns = list(_numbered(told))
    if not turns:
        turns = list(_events(span))
    first = [{"role": "system", "content": system}] if system else []
    return [*first, *turns] if turns else []


def _turn(message: Mapping[str, Any]) -> dict[str, Any]:
    content = message.get("content")
    return {"role": message.get("role", "user"), "content": content or _said(message.get("parts"))}


def _said(parts: Any) -> str:
    """Return the text of parts, of which other kinds stand as JSON: they shape the request too."""
    given = _json(parts)
    if isinstance(given, str):
        return given
    texts = []
    for part in _objects(given):
        known = part.get("type") in (None, "text") and isinstance(part.get("content"), str)
        texts.append(part["content"] if known else json.dumps(_without_ids(part), sort_keys=True))
    return "\n".join(texts)


def _without_ids(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is told of a tool's call or its result, without the random ids that join the two."""
    return {name: value for name, value in told.items() if name.rpartition(".")[2] not in _IDS}


def _spoken(role: Any, content: Any, more: Mapping[str, Any]) -> dict[str, Any]:
    """Return a turn of which `more` is told beside its text, such as calls of tools: they shape the request too."""
    kept = _without_ids(more)
    return {"role": role, "content": f"{content or ''}\n{json.dumps(kept, sort_keys=True)}" if kept else content}


def _numbered(told: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    turns: dict[int, dict[str, Any]] = {}
    for name, value in told.items():
        number, dot, rest = name.removeprefix(_NUMBERED).partition(".")
        if name.startswith(_NUMBERED) and dot and number.isdigit():
            turns.setdefault(int(number), {})[rest] = value
    for _, turn in sorted(turns.items()):
        yield _spoken(turn.pop("role", "user"), turn.pop("content", None), turn)


def _events(span: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for event in _objects(span.get("events")):
        name = event.get("name", "")
        told = _attributes(event.get("attributes"))
        if name in _SAID:
            content = told.get("content", told.get("gen_ai.event.content"))
            more = {one: value for one, value in told.items() if one in _TOOLS}
            yield _spoken(name.split(".")[1], content, more)
        elif name == "gen_ai.client.inference.operation.details":
            yield from (_turn(one) for one in _objects(_json(told.get("gen_ai.input.messages"))))


def _attributes(given: Any) -> dict[str, Any]:
    if isinstance(given, dict):
        return given
    return {str(one.get("key")): _value(one.get("value")) for one in _objects(given)}


def _value(given: Any) -> Any:
    """Return the plain value of an OTLP value."""
    if not isinstance(given, dict) or len(given) != 1:
        return given
    ((kind, value),) = given.items()
    if kind == "intValue":
        return int(value)
    if kind == "arrayValue":
        return [_value(one) for one in _objects(value.get("values") if isinstance(value, dict) else None)]
    return value


def _nanoseconds(span: Mapping[str, Any], which: str) -> float | None:
    given = span.get(f"{which}TimeUnixNano", span.get(f"{which}_time"))
    if isinstance(given, str) and given.isdigit():
        return float(given)
    if isinstance(given, str):
        try:
            return datetime.fromisoformat(given).timestamp() * 1e9
        except ValueError:
            return None
    return float(given) if isinstance(given, int | float) else None


def _json(given: Any) -> Any:
    if isinstance(given, str) and given[:1] in ("[", "{"):
        try:
            return json.loads(given)
        except (ValueError, RecursionError):
            return given
    return given


def _objects(given: Any) -> list[dict[str, Any]]:
    return [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []
