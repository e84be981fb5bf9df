"""The protocol `openai.chat`: `POST /chat/completions` of OpenAI and of the servers that speak its protocol."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cachecore_llm.wire.call import JsonObject, MediaKind, OutputKind, ProtocolName, RequestFacts, ToolOffer
from cachecore_llm.wire.chat import replay
from cachecore_llm.wire.chat.assembly import ChatAssembly
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
from cachecore_llm.wire.sse import DONE, DONE_FRAME, ServerEvent, encode_object

_FINISH: Mapping[str, Finish] = {
    "stop": "stop",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "length": "length",
    "content_filter": "content_filter",
    "error": "error",
}

_MEDIA: Mapping[str, MediaKind] = {
    "image_url": "image",
    "input_audio": "audio",
    "audio_url": "audio",
    "video_url": "video",
    "file": "file",
}

_ECHOED = {"metadata": None}
"""Fields that an answer repeats although they are not keyed, with the value that stands for "not given"."""

_REASONING = ("reasoning_content", "reasoning")


class OpenAIChat:
    """`WireProtocol` of chat completions."""

    name: ProtocolName = "openai.chat"
    end_frame = DONE_FRAME

    def parse(self, body: JsonObject) -> RequestFacts:
        """Return the facts of a request body. Raises UnreadableRequestError."""
        read = Reader(self.name, body)
        messages = read.objects("messages")
        output, schema = _output(read)
        media = read.media(read.parts(messages), _MEDIA)
        if "audio" in read.strings("modalities"):
            media |= {"audio"}
        return RequestFacts(
            model=read.text("model"),
            stream=read.flag("stream"),
            include_usage=as_object(read.object("stream_options")).get("include_usage") is True,
            n=read.count("n") or 1,
            tools=tuple(_offers(read)),
            output=output,
            schema=schema,
            media=media,
            user_turns=sum(message.get("role") == "user" for message in messages),
            max_output_tokens=read.bound("max_completion_tokens") or read.bound("max_tokens"),
            echoed={key: body[key] for key in _ECHOED if body.get(key) is not None},
        )

    def facts(self, body: JsonObject) -> AnswerFacts:
        """Return the facts of an answer's body."""
        choices = tuple(_choice(choice) for choice in as_objects(body.get("choices")))
        error = body.get("error")
        failed = error is not None or body.get("object") == "error"
        finished = all(choice.raw_finish and choice.finish != "error" for choice in choices)
        return AnswerFacts(
            id=text_or_none(body.get("id")),
            model=text_or_none(body.get("model")),
            choices=choices,
            usage=_usage(body.get("usage")),
            service_tier=text_or_none(body.get("service_tier")),
            error=error_facts(error or body) if failed else None,
            complete=bool(choices) and finished and not failed,
        )

    def assembly(self, request: RequestFacts | None = None) -> ChatAssembly:
        """Return a new assembly of the answer to `request`."""
        return ChatAssembly(n=request.n if request is not None else 1)

    def events_of(self, body: JsonObject, pieces: Pieces | None = None) -> Iterator[JsonObject]:
        """Yield the chunks of a complete body."""
        return replay.events_of(body, pieces)

    def neutral(self, event: JsonObject) -> JsonObject:
        """Return an event or a body without the parts that are for one caller only."""
        if "obfuscation" in event or event.get("usage", "") is None or event.get("metadata") is not None:
            event = {key: value for key, value in event.items() if key != "obfuscation"}
            if event.get("usage", "") is None:
                del event["usage"]
            if "metadata" in event:
                event["metadata"] = None
        return event

    def shown_to(self, event: JsonObject, request: RequestFacts) -> JsonObject | None:
        """Return a neutral event or body as the caller of `request` would have got it."""
        if "metadata" in event and "metadata" in request.echoed:
            event = {**event, "metadata": request.echoed["metadata"]}
        if event.get("object") == "chat.completion":
            return event
        if request.include_usage:
            return event if "usage" in event or "error" in event else {**event, "usage": None}
        if "usage" not in event:
            return event
        shown = {key: value for key, value in event.items() if key != "usage"}
        return shown if shown.get("choices") or "error" in shown else None

    def event_of(self, sent: ServerEvent) -> JsonObject | None:
        """Return the chunk in a server-sent event."""
        return None if self.is_end(sent) or not sent.data.strip() else load(sent.data)

    def is_end(self, sent: ServerEvent) -> bool:
        """Whether the server-sent event is `[DONE]`."""
        return sent.data.startswith(DONE)

    def frame(self, event: JsonObject) -> bytes:
        """Return the chunk as a server-sent event."""
        return encode_object(event)


def _output(read: Reader) -> tuple[OutputKind, JsonObject | None]:
    asked = as_object(read.object("response_format"))
    if asked.get("type") == "json_schema":
        return "schema", as_object(as_object(asked.get("json_schema")).get("schema")) or None
    return ("json" if asked.get("type") == "json_object" else "text"), None


def _offers(read: Reader) -> Iterator[ToolOffer]:
    for tool in read.objects("tools"):
        kind = text_or_none(tool.get("type")) or "function"
        described = as_object(tool.get(kind))
        yield ToolOffer(
            kind=kind,
            name=text_or_none(described.get("name")),
            by_caller=kind in ("function", "custom"),
            needs_arguments=requires_any(described.get("parameters")),
        )
    for function in read.objects("functions"):
        needs = requires_any(function.get("parameters"))
        yield ToolOffer(kind="function", name=text_or_none(function.get("name")), needs_arguments=needs)
    if read.object("web_search_options") is not None:
        yield ToolOffer(kind="web_search", by_caller=False)


def _choice(choice: JsonObject) -> ChoiceFacts:
    message = as_object(choice.get("message"))
    raw = text_or_none(choice.get("finish_reason"))
    calls = [_call(call) for call in as_objects(message.get("tool_calls"))]
    if isinstance(message.get("function_call"), dict):
        calls.append(_call({"function": message["function_call"]}))
    finish = _FINISH.get(raw or "", "unknown")
    if finish == "stop" and calls:
        finish = "tool_calls"  # compatible servers say `stop` when they stream
    refusal = text_or_none(message.get("refusal"))
    content = message.get("content")
    return ChoiceFacts(
        text=content if isinstance(content, str) else "".join(_texts(content)),
        tool_calls=tuple(calls),
        reasoning=next((message[key] for key in _REASONING if text_or_none(message.get(key))), ""),
        refusal=refusal,
        finish="refusal" if refusal and finish == "stop" else finish,
        raw_finish=raw,
        media=bool(message.get("audio") or message.get("images")),
    )


def _texts(content: Any) -> Iterator[str]:
    for part in as_objects(content):
        if isinstance(part.get("text"), str):
            yield part["text"]


def _call(call: JsonObject) -> ToolCallFacts:
    kind = text_or_none(call.get("type")) or ("custom" if "custom" in call else "function")
    inner = as_object(call.get(kind))
    arguments = inner.get("input" if kind == "custom" else "arguments")
    return ToolCallFacts(
        id=text_or_none(call.get("id")),
        name=text_or_none(inner.get("name")),
        arguments=arguments if isinstance(arguments, str) else "" if arguments is None else dump_text(arguments),
        kind=kind,
    )


def _usage(usage: Any) -> UsageFacts | None:
    if not isinstance(usage, dict):
        return None
    prompt, completion = (
        as_object(usage.get("prompt_tokens_details")),
        as_object(usage.get("completion_tokens_details")),
    )
    cached = count(prompt.get("cached_tokens")) or count(usage.get("prompt_cache_hit_tokens"))  # DeepSeek's name
    return UsageFacts(
        input_tokens=count(usage.get("prompt_tokens")),
        cached_input_tokens=cached,
        cache_write_tokens=count(prompt.get("cache_write_tokens")) or count(prompt.get("cache_creation_tokens")),
        output_tokens=count(usage.get("completion_tokens")),
        reasoning_tokens=count(completion.get("reasoning_tokens")) or count(usage.get("reasoning_tokens")),
        input_audio_tokens=count(prompt.get("audio_tokens")),
        output_audio_tokens=count(completion.get("audio_tokens")),
    )


OPENAI_CHAT = OpenAIChat()
