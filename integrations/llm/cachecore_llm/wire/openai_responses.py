"""The protocol `openai.responses`: `POST /responses`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cachecore_llm.wire.call import JsonObject, MediaKind, OutputKind, ProtocolName, RequestFacts, ToolOffer
from cachecore_llm.wire.facts import (
    AnswerFacts,
    ChoiceFacts,
    Finish,
    ToolCallFacts,
    UsageFacts,
    as_object,
    as_objects,
    count,
    error_facts,
    text_or_none,
)
from cachecore_llm.wire.objects import dump_text, load
from cachecore_llm.wire.pieces import Pieces
from cachecore_llm.wire.requests import Reader, requires_any
from cachecore_llm.wire.responses import replay
from cachecore_llm.wire.responses.assembly import ResponsesAssembly
from cachecore_llm.wire.sse import DONE, ServerEvent, encode_object

_MEDIA: dict[str, MediaKind] = {
    "input_image": "image",
    "input_audio": "audio",
    "input_video": "video",
    "input_file": "file",
    "computer_screenshot": "image",
}

_ECHOED: JsonObject = {
    "user": None,
    "metadata": {},
    "safety_identifier": None,
    "prompt_cache_key": None,
    "prompt_cache_retention": None,
    "prompt_cache_options": None,
}
"""Fields that an answer repeats although they are not keyed, with the value that stands for "not given"."""

_SECRETS = ("authorization", "headers")
"""Fields of a tool that may hold a credential."""

_PLACES_OF_CODE = ("container", "environment")
"""Fields of a tool that describe where code runs; their network policy may hold credentials."""

_BY_CALLER = frozenset({"function", "custom", "local_shell", "apply_patch", "computer", "computer_use_preview"})
"""Kinds of tools that the caller runs; any other kind runs at the provider."""

_CALLS_BY_CALLER = {
    "function_call": "arguments",
    "custom_tool_call": "input",
    "computer_call": "action",
    "local_shell_call": "action",
    "apply_patch_call": "operation",
}
"""Type of an item -> the field that says how the caller shall run the tool."""

_INCOMPLETE: dict[str, Finish] = {"max_output_tokens": "length", "content_filter": "content_filter"}


class OpenAIResponses:
    """`WireProtocol` of responses."""

    name: ProtocolName = "openai.responses"
    end_frame = b""

    def parse(self, body: JsonObject) -> RequestFacts:
        """Return the facts of a request body. Raises UnreadableRequestError."""
        read = Reader(self.name, body)
        items: list[JsonObject] = []
        if isinstance(body.get("input"), str):
            items = [{"role": "user", "content": read.text("input")}]
        else:
            items = read.objects("input")
        asked = as_object(as_object(read.object("text")).get("format"))
        output: OutputKind = "text"
        if asked.get("type") == "json_schema":
            output = "schema"
        elif asked.get("type") == "json_object":
            output = "json"
        parts = [*read.parts(items), *read.parts(items, inside="output")]
        parts += [as_object(item.get("output")) for item in items]
        return RequestFacts(
            model=read.text("model"),
            stream=read.flag("stream"),
            include_usage=True,
            tools=tuple(_offers(read)),
            output=output,
            schema=as_object(asked.get("schema")) or None if output == "schema" else None,
            media=read.media(parts, _MEDIA),
            user_turns=sum(item.get("role") == "user" for item in items),
            max_output_tokens=read.bound("max_output_tokens"),
            echoed={key: body[key] for key in _ECHOED if body.get(key) is not None},
        )

    def facts(self, body: JsonObject) -> AnswerFacts:
        """Return the facts of an answer's body."""
        error, status = body.get("error"), text_or_none(body.get("status"))
        failed = error is not None or status == "failed" or body.get("object") == "error" or body.get("type") == "error"
        choices = (_choice(body, status),) if isinstance(body.get("output"), list) else ()
        return AnswerFacts(
            id=text_or_none(body.get("id")),
            model=text_or_none(body.get("model")),
            choices=choices,
            usage=_usage(body.get("usage")),
            service_tier=text_or_none(body.get("service_tier")),
            error=error_facts(error if error is not None else body) if failed else None,
            complete=bool(choices) and status == "completed" and not failed,
        )

    def assembly(self, request: RequestFacts | None = None) -> ResponsesAssembly:
        """Return a new assembly of an answer."""
        return ResponsesAssembly()

    def events_of(self, body: JsonObject, pieces: Pieces | None = None) -> Iterator[JsonObject]:
        """Yield the events of a complete body."""
        return replay.events_of(body, pieces)

    def neutral(self, event: JsonObject) -> JsonObject:
        """Return an event or a body without the parts that are for one caller only."""
        if "obfuscation" in event:
            event = {key: value for key, value in event.items() if key != "obfuscation"}
        response = event.get("response")
        if isinstance(response, dict):
            cut = _without_echoes(response)
            return event if cut is response else {**event, "response": cut}
        item = event.get("item")
        if isinstance(item, dict) and "tools" in item:
            return {**event, "item": _without_secrets(item)}
        return _without_echoes(event) if event.get("object") == "response" else event

    def shown_to(self, event: JsonObject, request: RequestFacts) -> JsonObject | None:
        """Return a neutral event or body as the caller of `request` would have got it."""
        response = event.get("response")
        if isinstance(response, dict):
            return {**event, "response": _with_echoes(response, request)}
        return _with_echoes(event, request) if event.get("object") == "response" else event

    def event_of(self, sent: ServerEvent) -> JsonObject | None:
        """Return the event in a server-sent event."""
        if self.is_end(sent) or not sent.data.strip():
            return None
        event = load(sent.data)
        return {"type": sent.event, **event} if "type" not in event and sent.event else event

    def is_end(self, sent: ServerEvent) -> bool:
        """Whether the server-sent event is a `[DONE]`, which some servers add. The protocol itself has no mark."""
        return sent.data.startswith(DONE)

    def frame(self, event: JsonObject) -> bytes:
        """Return the event as a server-sent event with its type as its name."""
        return encode_object(event, event=str(event.get("type", "")))


def _without_echoes(response: JsonObject) -> JsonObject:
    cut = {key: value for key, value in _ECHOED.items() if response.get(key, value) != value}
    output = response.get("output")
    if isinstance(output, list) and any(isinstance(item, dict) and "tools" in item for item in output):
        cut["output"] = [_without_secrets(item) if isinstance(item, dict) else item for item in output]
    response = _without_secrets(response)
    return {**response, **cut} if cut else response


def _without_secrets(owner: JsonObject) -> JsonObject:
    """Return an answer or an item without the credentials of its tools; itself if there are none."""
    tools = owner.get("tools")
    if not isinstance(tools, list):
        return owner
    cut = [_tool_without_secrets(tool) if isinstance(tool, dict) else tool for tool in tools]
    return owner if all(a is b for a, b in zip(cut, tools, strict=True)) else {**owner, "tools": cut}


def _tool_without_secrets(tool: JsonObject) -> JsonObject:
    cut: JsonObject = {key: None for key in _SECRETS if tool.get(key) is not None}
    address = tool.get("server_url")
    if address is not None and address != (host := _host_of(address)):
        cut["server_url"] = host
    for key in _PLACES_OF_CODE:
        place = as_object(tool.get(key))
        policy = as_object(place.get("network_policy"))
        if policy.get("domain_secrets") is not None:
            cut[key] = {**place, "network_policy": {**policy, "domain_secrets": None}}
    return {**tool, **cut} if cut else tool


def _host_of(address: Any) -> str | None:
    """Return scheme and host of a server's address, as OpenAI repeats it: the path may hold a credential."""
    if not isinstance(address, str):
        return None
    scheme, found, rest = address.partition("://")
    place = rest if found else address
    for end in "/?#\\":
        place = place.partition(end)[0]
    return f"{scheme}{found}{place.rpartition('@')[2]}" if found else place.rpartition("@")[2]


def _with_echoes(response: JsonObject, request: RequestFacts) -> JsonObject:
    """Return `response` with the echoes of `request`, in those fields that this server repeats."""
    echoes = {key: value for key, value in request.echoed.items() if key in _ECHOED and key in response}
    return {**response, **echoes} if echoes else response


def _offers(read: Reader) -> Iterator[ToolOffer]:
    for tool in read.objects("tools"):
        kind = text_or_none(tool.get("type")) or "function"
        local = kind == "shell" and as_object(tool.get("environment")).get("type") == "local"
        name = text_or_none(tool.get("name")) or text_or_none(tool.get("server_label"))
        needs = requires_any(tool.get("parameters"))
        yield ToolOffer(kind=kind, name=name, by_caller=local or kind in _BY_CALLER, needs_arguments=needs)


def _choice(body: JsonObject, status: str | None) -> ChoiceFacts:
    items = as_objects(body["output"])
    parts = [part for item in items if item.get("type") == "message" for part in as_objects(item.get("content"))]
    refusals = [part["refusal"] for part in parts if text_or_none(part.get("refusal"))]
    calls = tuple(_call(item) for item in items if str(item.get("type")).endswith("_call"))
    reason = text_or_none(as_object(body.get("incomplete_details")).get("reason"))
    finish: Finish = "unknown"
    if status == "completed":
        finish = "refusal" if refusals else "tool_calls" if any(call.by_caller for call in calls) else "stop"
    elif status == "incomplete":
        finish = _INCOMPLETE.get(reason or "", "unknown")
    elif status == "failed":
        finish = "error"
    return ChoiceFacts(
        text="".join(part["text"] for part in parts if isinstance(part.get("text"), str)),
        tool_calls=calls,
        reasoning="".join(_reasoning(items)),
        refusal="".join(refusals) or None,
        finish=finish,
        raw_finish=reason or status,
        media=any(item.get("type") == "image_generation_call" and item.get("result") for item in items),
    )


def _reasoning(items: list[JsonObject]) -> Iterator[str]:
    for item in items:
        if item.get("type") == "reasoning":
            for part in as_objects(item.get("content")) or as_objects(item.get("summary")):
                if isinstance(part.get("text"), str):
                    yield part["text"]


def _call(item: JsonObject) -> ToolCallFacts:
    kind = str(item["type"])
    field = _CALLS_BY_CALLER.get(kind)
    arguments = item.get(field or ("arguments" if "arguments" in item else "action"))
    return ToolCallFacts(
        id=text_or_none(item.get("call_id")) or text_or_none(item.get("id")),
        name=text_or_none(item.get("name")) or (None if kind in ("function_call", "custom_tool_call") else kind),
        arguments=arguments if isinstance(arguments, str) else "" if arguments is None else dump_text(arguments),
        kind=kind,
        by_caller=field is not None,
    )


def _usage(usage: Any) -> UsageFacts | None:
    if not isinstance(usage, dict):
        return None
    read, written = as_object(usage.get("input_tokens_details")), as_object(usage.get("output_tokens_details"))
    return UsageFacts(
        input_tokens=count(usage.get("input_tokens")),
        cached_input_tokens=count(read.get("cached_tokens")),
        cache_write_tokens=count(read.get("cache_write_tokens")),
        output_tokens=count(usage.get("output_tokens")),
        reasoning_tokens=count(written.get("reasoning_tokens")),
        input_audio_tokens=count(read.get("audio_tokens")),
        output_audio_tokens=count(written.get("audio_tokens")),
    )


OPENAI_RESPONSES = OpenAIResponses()
