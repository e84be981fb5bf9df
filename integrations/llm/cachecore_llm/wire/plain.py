"""The protocol `plain`: one question and its text, for providers that have a method `generate` and no wire.

A request body has four fields: `system_prompt`, `user_message` (text, or a list of content parts), `context` and
`params`. It never leaves the process, so `context` and `params` may hold any Python value. An answer's body is the
provider's part of an `LLMResponse` as JSON. The events of a stream are `{"text": …}` any number of times, then
`{"end": …}` with the body less its `content`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cachecore_llm.wire.call import (
    JsonObject,
    MediaKind,
    OutputKind,
    ProtocolName,
    RequestFacts,
    ToolOffer,
    UnreadableRequestError,
)
from cachecore_llm.wire.facts import (
    AnswerFacts,
    ChoiceFacts,
    ErrorFacts,
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
from cachecore_llm.wire.pieces import PieceLog, Pieces, words
from cachecore_llm.wire.protocol import Recording
from cachecore_llm.wire.requests import requires_any
from cachecore_llm.wire.sse import ServerEvent, encode_object
from cachecore_llm.wire.text import join_text

_FINISH: Mapping[str, Finish] = {
    "stop": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_calls": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "length": "length",
    "max_tokens": "length",
    "content_filter": "content_filter",
    "refusal": "refusal",
    "error": "error",
}

_MEDIA: Mapping[str, MediaKind] = {
    "image": "image",
    "image_url": "image",
    "input_image": "image",
    "input_audio": "audio",
    "audio_url": "audio",
    "video_url": "video",
    "file": "file",
    "input_file": "file",
    "document": "file",
}

_BOUNDS = ("max_completion_tokens", "max_tokens", "max_output_tokens")
_FORMATS: Mapping[str, OutputKind] = {"json": "json", "json_object": "json", "json_schema": "schema"}
_SCHEMAS = ("parameters", "input_schema")
_TEXT = "text"


class Plain:
    """`WireProtocol` of providers without a wire."""

    name: ProtocolName = "plain"
    end_frame = b""

    def parse(self, body: JsonObject) -> RequestFacts:
        """Return the facts of a request body. Raises UnreadableRequestError."""
        if not isinstance(body, dict):
            raise UnreadableRequestError(self.name, "the body", "an object", type(body).__name__)
        params, question, context = body.get("params") or {}, body.get("user_message"), body.get("context")
        if not isinstance(params, dict):
            raise UnreadableRequestError(self.name, "params", "an object", type(params).__name__)
        if not isinstance(question, str | list):
            raise UnreadableRequestError(self.name, "user_message", "text or a list of parts", type(question).__name__)
        output, schema = _output(params)
        turns = [turn for turn in as_objects(context) if "role" in turn]
        n = params.get("n")
        return RequestFacts(
            model=text_or_none(params.get("model")),
            stream=params.get("stream") is True,
            n=n if type(n) is int and n > 0 else 1,
            tools=tuple(_offers(params)),
            output=output,
            schema=schema,
            media=frozenset(_media(question, turns)),
            user_turns=1 + sum(turn["role"] == "user" for turn in turns),
            max_output_tokens=next((params[name] for name in _BOUNDS if type(params.get(name)) is int), None),
        )

    def facts(self, body: JsonObject) -> AnswerFacts:
        """Return the facts of an answer's body."""
        error, raw = body.get("error"), text_or_none(body.get("finish_reason"))
        calls = tuple(_call(call) for call in as_objects(body.get("tool_calls")))
        finish = _FINISH.get((raw or "").casefold(), "unknown")
        refusal, content = text_or_none(body.get("refusal")), body.get("content")
        choice = ChoiceFacts(
            text=content if isinstance(content, str) else "",
            tool_calls=calls,
            reasoning=text_or_none(body.get("reasoning")) or "",
            refusal=refusal,
            finish="refusal" if refusal else "tool_calls" if calls and finish == "stop" else finish,
            raw_finish=raw,
        )
        return AnswerFacts(
            model=text_or_none(body.get("model")),
            choices=(choice,),
            usage=_usage(body.get("usage")),
            error=None if error is None else error_facts(error),
            complete=error is None,  # `generate` returns whole answers, and many give no finish
        )

    def assembly(self, request: RequestFacts | None = None) -> PlainAssembly:
        """Return a new assembly of the answer to `request`."""
        return PlainAssembly()

    def events_of(self, body: JsonObject, pieces: Pieces | None = None) -> Iterator[JsonObject]:
        """Yield the events of a complete body."""
        content = body.get("content")
        text, at = content if isinstance(content, str) else "", 0
        sizes = None if pieces is None else [size for _, size in pieces.steps]
        if sizes is None or min(sizes, default=1) < 1 or sum(sizes) != len(text):
            sizes = list(words(text))
        for size in sizes:
            yield {"text": text[at : at + size]}
            at += size
        yield {"end": {field: value for field, value in body.items() if field != "content"}}

    def neutral(self, event: JsonObject) -> JsonObject:
        """Return the event itself: it repeats nothing of a request."""
        return event

    def shown_to(self, event: JsonObject, request: RequestFacts) -> JsonObject | None:
        """Return the event itself: every caller gets the same."""
        return event

    def event_of(self, sent: ServerEvent) -> JsonObject | None:
        """Return the event in a server-sent event."""
        return load(sent.data) if sent.data.strip() else None

    def is_end(self, sent: ServerEvent) -> bool:
        """Return False: the last event is the end."""
        return False

    def frame(self, event: JsonObject) -> bytes:
        """Return the event as a server-sent event."""
        return encode_object(event)


class PlainAssembly:
    """`Assembly` of plain events."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._end: JsonObject | None = None
        self._log = PieceLog()
        self._ended = False
        self._known = True
        self._error: ErrorFacts | None = None

    @property
    def started(self) -> bool:
        """Whether an event carried content."""
        return bool(self._text) or self._end is not None

    def feed(self, event: JsonObject) -> None:
        """Take the next event."""
        text, end = event.get("text"), event.get("end")
        if isinstance(text, str) and self._end is None:
            if text:
                self._text.append(text)
                self._log.event()
                self._log.add(_TEXT, len(text))
        elif isinstance(end, dict) and self._end is None:
            self._end = end
        elif event.get("error") is not None:
            self._error = error_facts(event["error"])
        else:
            self._known = False

    def end(self) -> None:
        """Say that the stream ended cleanly."""
        self._ended = True

    def recording(self) -> Recording:
        """Return the answer as far as it was seen."""
        text, end = join_text(self._text), self._end
        pieces = self._log.pieces()
        if pieces is not None and sum(size for _, size in pieces.steps) != len(text):
            pieces = None  # halves of a surrogate pair became one character
        error = self._error or (error_facts(end["error"]) if end is not None and end.get("error") is not None else None)
        return Recording(
            body={"content": text, **(end or {})} if self.started else None,
            pieces=pieces,
            complete=end is not None and error is None,
            whole=self._known,
            error=error,
        )


def _output(params: Mapping[str, Any]) -> tuple[OutputKind, JsonObject | None]:
    """Return the form of the answer that parameters ask for, in any of the ways that are in use."""
    text = params.get("text")
    forms = [params.get("response_format"), params.get("format")]
    forms.append(text.get("format") if isinstance(text, Mapping) else None)
    for form in forms:
        if isinstance(form, type):  # a pydantic class: the schema of the answer
            make = getattr(form, "model_json_schema", None)
            return "schema", make() if callable(make) else None
        kind = form.get("type") if isinstance(form, Mapping) else form
        if isinstance(kind, str) and kind in _FORMATS:
            found = as_object(form)
            schema = as_object(found.get("json_schema")).get("schema") or found.get("schema")
            return _FORMATS[kind], schema if isinstance(schema, dict) and kind == "json_schema" else None
    mime_type = params.get("response_mime_type")
    is_json = isinstance(mime_type, str) and mime_type.partition(";")[0].strip() == "application/json"
    return ("json" if is_json or params.get("json_mode") is True else "text"), None


def _offers(params: Mapping[str, Any]) -> Iterator[ToolOffer]:
    for field in ("tools", "functions"):
        offered = params.get(field)
        for tool in offered if isinstance(offered, list | tuple) else [offered] if offered else []:
            described = as_object(tool)
            inner = described if described.get("name") else as_object(described.get("function"))
            yield ToolOffer(
                kind=text_or_none(described.get("type")) or "function",
                name=text_or_none(inner.get("name")),
                needs_arguments=any(requires_any(inner.get(name)) for name in _SCHEMAS),
            )
    if params.get("web_search_options") is not None:
        yield ToolOffer(kind="web_search", by_caller=False)


def _media(question: Any, turns: list[JsonObject]) -> Iterator[MediaKind]:
    for content in (question, *(turn.get("content") for turn in turns)):
        for part in as_objects(content):
            kind = part.get("type")
            if isinstance(kind, str) and kind in _MEDIA:
                yield _MEDIA[kind]


def _call(call: JsonObject) -> ToolCallFacts:
    arguments = call.get("arguments")
    return ToolCallFacts(
        id=text_or_none(call.get("id")),
        name=text_or_none(call.get("name")),
        arguments=arguments if isinstance(arguments, str) else "" if arguments is None else dump_text(arguments),
    )


def _usage(usage: Any) -> UsageFacts | None:
    if not isinstance(usage, dict):
        return None
    return UsageFacts(
        input_tokens=count(usage.get("prompt_tokens")),
        cached_input_tokens=count(usage.get("cached_tokens")),
        output_tokens=count(usage.get("completion_tokens")),
        reasoning_tokens=count(usage.get("reasoning_tokens")),
    )


PLAIN = Plain()
