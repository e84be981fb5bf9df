"""What a record of a log means: the request in it, in the forms in which applications and gateways write logs.

Each form is recognised by its fields. A record without a request says why, in words that many records share, so that
reasons can be counted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from cachecore_llm.replay.spans import call_of_span, is_span
from cachecore_llm.wire import PROTOCOLS, Call, JsonObject, ProtocolName

Record = Mapping[str, Any]
FORMATS: Final = (
    "own",
    "openai",
    "openai-batch",
    "responses",
    "anthropic",
    "litellm",
    "langfuse",
    "helicone",
    "otel",
    "recording",
    "text",
)
"""The names of the forms, for `--format`; CSV is a way to write any of them."""

_NOT_KEPT: Final = ("stream", "stream_options")
"""A log of streamed requests is replayed whole: streaming is how an answer travels, not what it says."""


_OBSERVATIONS: Final = frozenset({"GENERATION", "SPAN", "EVENT", "AGENT", "TOOL", "CHAIN", "RETRIEVER", "EMBEDDING"})
"""Types of the observations of Langfuse; generations hold requests."""
RECORDING: Final = "cachecore-recording"
"""The `form` in the first line of a recording of this library."""
_RECORDED: Final = frozenset({"call", "prints", "sealed", "bypass"})
"""What a line of a recording of this library holds beside its time."""
_LANGFUSE: Final = frozenset({"modelParameters", "provided_model_name", "providedModelName"})
_UNBOUNDED: Final = ("inf", "Infinity")
"""What clients of Langfuse write for a `max_tokens` that was not given."""

_CONTENT: Final[Mapping[ProtocolName, str]] = {"openai.responses": "input", "openai.embeddings": "input"}
"""The field of a body that holds what is asked, where it is not `messages`."""
_LITELLM: Final[Mapping[str, ProtocolName]] = {
    "embedding": "openai.embeddings",
    "anthropic_messages": "anthropic.messages",
    "responses": "openai.responses",
    "completion": "openai.chat",
}
"""What LiteLLM's `call_type` holds, and the protocol of its body."""


class UnreadableRecordError(ValueError):
    """A record holds no request that can be replayed; the text is a reason, and holds nothing of the record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The facts of a log beside the request."""

    at: float | None = None
    """Unix seconds at which it was asked."""
    seconds: float | None = None
    """How long the answer took."""
    input_tokens: int | None = None
    output_tokens: int | None = None


NO_FACTS: Final = Facts()


def recognised(record: Record) -> str | None:
    """Return the form of a record, by its fields; None if it is none."""
    if "system_prompt" in record and "user_message" in record:
        return "own"
    if is_span(record):
        return "otel"
    if "at" in record and not _RECORDED.isdisjoint(record):
        return "recording"
    if "request_body" in record or ("helicone_id" in record) or "request_created_at" in record:
        return "helicone"
    if str(record.get("type", "")).upper() in _OBSERVATIONS or not _LANGFUSE.isdisjoint(record):
        return "langfuse"
    if "call_type" in record or "model_parameters" in record or "proxy_server_request" in record:
        return "litellm"
    if "custom_id" in record and ("body" in record or "params" in record):
        return "openai-batch" if "body" in record else "anthropic"
    if "messages" in record:
        return "anthropic" if _is_anthropic(record) else "openai"
    if "input" in record and "model" in record:
        return "responses"
    return None


def request_in(record: Record, form: str) -> tuple[Call, Facts]:
    """Return the call in a record of the form `form`, and its other facts. Raises UnreadableRecordError."""
    return _READERS[form](record)


def _is_anthropic(record: Record) -> bool:
    """Whether a body with `messages` is one of Anthropic's: by way of others, Claude is asked in OpenAI's form, too."""
    if "anthropic_version" in record or "system" in record:
        return True
    turns, tools = _objects(record.get("messages")), _objects(record.get("tools"))
    return (
        "claude" in str(record.get("model"))
        and "max_tokens" in record
        and all(one.get("role") in ("user", "assistant") for one in turns)
        and not any("function" in one for one in tools)
    )


def call(protocol: ProtocolName, body: Record, **more: Any) -> Call:
    """Return the call of a request body. Raises UnreadableRecordError where the body cannot be one."""
    kept: JsonObject = {name: value for name, value in body.items() if name not in _NOT_KEPT and value is not None}
    wanted = _CONTENT.get(protocol, "messages")
    given = kept.get(wanted)
    if not isinstance(given, list | str) or not given:
        raise UnreadableRecordError(f"no {wanted}")
    if wanted == "messages" and not (isinstance(given, list) and all(isinstance(one, dict) for one in given)):
        raise UnreadableRecordError("messages is no list of objects")
    return Call(protocol=protocol, endpoint="log", body=kept, **more)


def _openai(record: Record) -> tuple[Call, Facts]:
    return call("openai.chat", record), NO_FACTS


def _with_input(record: Record) -> tuple[Call, Facts]:
    model = str(record.get("model", ""))
    embeds = "embed" in model or "encoding_format" in record or "dimensions" in record
    return call("openai.embeddings" if embeds else "openai.responses", record), NO_FACTS


def _batch(record: Record) -> tuple[Call, Facts]:
    body, url = record.get("body"), str(record.get("url", ""))
    if not isinstance(body, dict):
        raise UnreadableRecordError("body is no object")
    for end, protocol in _ENDPOINTS.items():
        if url.endswith(end):
            return call(protocol, body), NO_FACTS
    return _body(body), NO_FACTS


def _anthropic(record: Record) -> tuple[Call, Facts]:
    params = record.get("params")  # of a batch
    return call("anthropic.messages", params if isinstance(params, dict) else record), NO_FACTS


def _body(body: Record) -> Call:
    """Return the call of a body whose protocol is not named. Raises UnreadableRecordError."""
    form = recognised(body)
    if form not in ("openai", "anthropic", "responses"):
        raise UnreadableRecordError("a body of no known protocol")
    return request_in(body, form)[0]


def _litellm(record: Record) -> tuple[Call, Facts]:
    kind = str(record.get("call_type", ""))
    protocol = next((one for mark, one in _LITELLM.items() if mark in kind), None)
    if kind and protocol is None:
        raise UnreadableRecordError(f"a call of the kind {kind}")
    facts = Facts(
        at=_time(record.get("startTime")),
        seconds=_between(record.get("startTime"), record.get("endTime")),
        input_tokens=_count(record.get("prompt_tokens")),
        output_tokens=_count(record.get("completion_tokens")),
    )
    asked = parsed(record.get("proxy_server_request"))
    if isinstance(asked, dict) and isinstance(asked.get("body", asked), dict) and asked.get("body", asked):
        body = {"model": record.get("model"), **asked.get("body", asked)}
        return (_body(body) if protocol is None else call(protocol, body)), facts
    protocol = protocol or "openai.chat"
    params = parsed(record.get("model_parameters"))
    messages = parsed(record.get("messages"))
    body = {"model": record.get("model"), **(params if isinstance(params, dict) else {})}
    wanted = _CONTENT.get(protocol, "messages")
    return call(protocol, {**body, wanted: messages if wanted == "input" else _turns(messages)}), facts


def _first(record: Record, *names: str) -> Any:
    """Return the first of the fields that says something: exports of a page, a bucket and the API name them apart."""
    return next((record[name] for name in names if record.get(name)), None)


def _plain(value: Any) -> Any:
    """Return a parameter of a model: clients of Langfuse write decimals as text."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return value


def _langfuse(record: Record) -> tuple[Call, Facts]:
    kind = record.get("type")
    if kind is not None and str(kind).upper() != "GENERATION":
        raise UnreadableRecordError("an observation that is no generation")
    usage = parsed(_first(record, "usageDetails", "usage_details", "usage"))
    usage = usage if isinstance(usage, dict) else {}
    start, end = _first(record, "startTime", "start_time"), _first(record, "endTime", "end_time")
    facts = Facts(
        at=_time(start),
        seconds=_between(start, end),
        input_tokens=_count(usage.get("input", record.get("promptTokens"))),
        output_tokens=_count(usage.get("output", record.get("completionTokens"))),
    )
    given = parsed(record.get("input"))
    told = parsed(_first(record, "modelParameters", "model_parameters"))
    params = told if isinstance(told, dict) else {}
    body = {name: _plain(value) for name, value in params.items() if value not in _UNBOUNDED}
    body = {"model": _first(record, "model", "provided_model_name", "providedModelName"), **body}
    if isinstance(given, dict) and "messages" in given:
        return call("openai.chat", {**body, **given}), facts
    return call("openai.chat", {**body, "messages": _turns(given)}), facts


def _helicone(record: Record) -> tuple[Call, Facts]:
    request = record.get("request")
    body = parsed(record.get("request_body", request.get("body") if isinstance(request, dict) else None))
    if not isinstance(body, dict):
        raise UnreadableRecordError("no request_body")
    milliseconds = record.get("delay_ms", record.get("latency"))
    facts = Facts(
        at=_time(record.get("request_created_at", record.get("created_at"))),
        seconds=milliseconds / 1000 if isinstance(milliseconds, int | float) else None,
        input_tokens=_count(record.get("prompt_tokens")),
        output_tokens=_count(record.get("completion_tokens")),
    )
    model = record.get("request_model", record.get("model"))
    return _body(body if "model" in body or model is None else {"model": model, **body}), facts


def _recording(record: Record) -> tuple[Call, Facts]:
    whole = record.get("call")
    if not isinstance(whole, dict) or not isinstance(whole.get("body"), dict) or whole.get("protocol") not in PROTOCOLS:
        raise UnreadableRecordError("a recording without requests: only keep='plain' holds what can be asked")
    place = {name: whole.get(name) for name in ("tenant", "prompt")}
    return call(whole["protocol"], whole["body"], **place), Facts(at=_time(record.get("at")))


def _otel(record: Record) -> tuple[Call, Facts]:
    found = call_of_span(record)
    if isinstance(found, str):
        raise UnreadableRecordError(found)
    body, at, seconds, input_tokens, output_tokens = found
    return call("openai.chat", body), Facts(
        at=at, seconds=seconds, input_tokens=_count(input_tokens), output_tokens=_count(output_tokens)
    )


_READERS: Final[Mapping[str, Callable[[Record], tuple[Call, Facts]]]] = {
    "openai": _openai,
    "openai-batch": _batch,
    "responses": _with_input,
    "anthropic": _anthropic,
    "litellm": _litellm,
    "langfuse": _langfuse,
    "helicone": _helicone,
    "otel": _otel,
    "recording": _recording,
}
_ENDPOINTS: Final[Mapping[str, ProtocolName]] = {
    "/chat/completions": "openai.chat",
    "/responses": "openai.responses",
    "/embeddings": "openai.embeddings",
    "/messages": "anthropic.messages",
}


def _objects(given: Any) -> list[dict[str, Any]]:
    return [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []


def _turns(given: Any) -> Any:
    """Return the messages that a log gives as messages, as one message, or as a text."""
    if isinstance(given, str) and given:
        return [{"role": "user", "content": given}]
    return [given] if isinstance(given, dict) and "content" in given else given


def parsed(value: Any) -> Any:
    """Return what a text that is JSON of an object or a list says; any other value as it is."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _count(value: Any) -> int | None:
    if isinstance(value, str) and value.isdigit():
        return int(value)
    return value if type(value) is int and value >= 0 else None


def _time(value: Any) -> float | None:
    """Return a time as Unix seconds: a number of seconds or milliseconds, or an ISO text, in UTC unless it says so."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value / 1000 if value > 1e11 else float(value)
    if not isinstance(value, str):
        return None
    try:
        when = datetime.fromisoformat(value)
    except ValueError:
        return None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def _between(start: Any, end: Any) -> float | None:
    began, ended = _time(start), _time(end)
    return None if began is None or ended is None or ended < began else ended - began
