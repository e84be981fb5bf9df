"""`anthropic.messages`: reading a request to /v1/messages, and its answer as one body. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from cachecore_llm.testing.provider import ask as asking
from cachecore_llm.testing.provider.answer import Answer, Called, Citation
from cachecore_llm.testing.provider.ask import Ask, Offer
from cachecore_llm.testing.provider.directives import Directives
from cachecore_llm.testing.provider.fields import Fields, RejectedError
from cachecore_llm.testing.provider.fresh import Fresh
from cachecore_llm.testing.provider.protocol import served_model, unsupported

NAME: Final = "anthropic.messages"
_STOP_REASONS: Final = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}


def prompt(body: Mapping[str, Any]) -> str:
    """Return the text of the last user message as it was sent."""
    return asking.last_user_text(body.get("messages"))[0]


def read(body: dict[str, Any], base: Directives | None, header: str) -> Ask:
    """Return the request. Raises RejectedError as the service refuses, DirectiveError for a bad directive."""
    given = Fields(body, "anthropic")
    model = given.required("model", str)
    given.required("max_tokens", int)
    given.required("messages", list)
    messages = given.objects("messages")
    for n, message in enumerate(messages):
        if message.get("role") not in ("user", "assistant", "system"):
            raise RejectedError(400, f"messages.{n}.role: Input should be 'user' or 'assistant'")
    text, results = asking.last_user_text(messages)
    directives, text = asking.directed(text, base, header)
    media = asking.media_of(messages)
    tools = tuple(
        Offer(one.required("name", str), one.object("input_schema").values)
        for one in (Fields(tool, "anthropic", f"tools.{n}") for n, tool in enumerate(given.objects("tools")))
        if "input_schema" in one.values  # the services' own tools have none
    )
    ask = Ask(
        body=body,
        model=model,
        prompt=text,
        directives=directives,
        stream=body.get("stream") is True,
        seed=asking.seed_of(body),
        prompt_tokens=asking.count_tokens(body.get("system"), messages, media=len(media)),
        media=media,
        results=results,
        tools=tools,
        forced=_forced(given.object("tool_choice"), tools),
        schema=_schema(given.object("output_config").object("format")),
        max_tokens=given.whole("max_tokens"),
        stop=given.texts("stop_sequences"),
        reasons=given.object("thinking").text("type") not in (None, "disabled"),
    )
    unsupported(ask, NAME, ("function",))
    return ask


def _forced(choice: Fields, tools: tuple[Offer, ...]) -> Offer | None:
    kind = choice.text("type")
    if kind == "any":
        return asking.forced(None, tools)
    return asking.forced(choice.required("name", str), tools) if kind == "tool" else None


def _schema(form: Fields) -> Any:
    return form.required("schema", dict) if form.values else None


def whole(ask: Ask, answers: list[Answer], fresh: Fresh) -> dict[str, Any]:
    """Return the body of a whole answer."""
    answer = answers[0]
    refused = answer.refusal is not None or answer.finish == "content_filter"
    stop_reason = _STOP_REASONS.get(answer.finish, answer.finish)
    if refused and answer.finish == "stop":
        stop_reason = "refusal"
    if answer.stopped_by is not None:
        stop_reason = "stop_sequence"
    details = {"type": "refusal", "category": "general_harms", "explanation": answer.refusal} if refused else None
    return {
        "id": fresh.id("msg_01", 22),
        "type": "message",
        "role": "assistant",
        "model": served_model(ask.model, "-20260101"),
        "content": list(_content(ask, answer, fresh)),
        "stop_reason": stop_reason,
        "stop_sequence": answer.stopped_by,
        "stop_details": details,
        "usage": _usage(answer),
    }


def _content(ask: Ask, answer: Answer, fresh: Fresh) -> Iterator[dict[str, Any]]:
    if answer.reasoning is not None:
        yield {"type": "thinking", "thinking": answer.reasoning, "signature": fresh.opaque(answer.reasoning)}
    if answer.redacted:
        yield {"type": "redacted_thinking", "data": fresh.opaque(ask.seed)}
    if answer.search is not None:
        yield from _search(answer, fresh)
    if answer.text is not None:
        yield from _texts(ask, answer, fresh)
    if answer.refusal:
        yield {"type": "text", "text": answer.refusal, "citations": None}
    for call in answer.tools:
        yield {"type": "tool_use", "id": fresh.id("toolu_01", 22), "name": call.name, "input": _input(call)}
    if answer.unknown:
        yield {"type": "vendor_block", "score": 1}


def _input(call: Called) -> Any:
    """Return the arguments as a value. Raises RejectedError for those that are no JSON: this form is JSON itself."""
    try:
        return msgspec.json.decode(call.arguments)
    except ValueError as error:
        raise RejectedError(
            400,
            f"[[tool:{call.name} …]]: its arguments are no JSON ({error}), but a tool_use block is JSON itself: "
            "break the stream by [[truncate n]], or ask an OpenAI protocol",
        ) from None


def _search(answer: Answer, fresh: Fresh) -> Iterator[dict[str, Any]]:
    number = fresh.id("srvtoolu_01", 22)
    yield {"type": "server_tool_use", "id": number, "name": "web_search", "input": {"query": answer.search}}
    found = [
        {
            "type": "web_search_result",
            "url": one.url,
            "title": one.title,
            "encrypted_content": fresh.opaque(one.url),
            "page_age": None,
        }
        for one in answer.citations
    ]
    yield {"type": "web_search_tool_result", "tool_use_id": number, "content": found}


def _texts(ask: Ask, answer: Answer, fresh: Fresh) -> Iterator[dict[str, Any]]:
    """Yield the text: one block, or one for each cited part of it."""
    text = answer.text or ""
    if not answer.citations:
        yield {"type": "text", "text": text, "citations": None}
        return
    for one in answer.citations:
        part = text[one.start : one.end]
        yield {"type": "text", "text": part, "citations": [_location(answer, one, part, fresh)]}
    if rest := text[answer.citations[-1].end :]:
        yield {"type": "text", "text": rest, "citations": None}


def _location(answer: Answer, one: Citation, part: str, fresh: Fresh) -> dict[str, Any]:
    if answer.search is not None:
        encrypted = fresh.opaque(one.title)
        return {
            "type": "web_search_result_location",
            "cited_text": part,
            "url": one.url,
            "title": one.title,
            "encrypted_index": encrypted,
        }
    return {
        "type": "char_location",
        "cited_text": part,
        "document_index": 0,
        "document_title": one.title,
        "start_char_index": one.start,
        "end_char_index": one.end,
        "file_id": None,
    }


def _usage(answer: Answer) -> dict[str, Any]:
    used = answer.used
    usage: dict[str, Any] = {
        "input_tokens": used.prompt - used.cached - used.cache_write,
        "cache_creation_input_tokens": used.cache_write,
        "cache_read_input_tokens": used.cached,
        "cache_creation": {"ephemeral_5m_input_tokens": used.cache_write, "ephemeral_1h_input_tokens": 0},
        "output_tokens": used.output,
        "service_tier": "standard",
    }
    if used.reasoning:
        usage["output_tokens_details"] = {"thinking_tokens": used.reasoning}
    if answer.search is not None:
        usage["server_tool_use"] = {"web_search_requests": 1, "web_fetch_requests": 0}
    return usage
