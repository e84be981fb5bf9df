"""`openai.chat`: reading a request to /v1/chat/completions, and its answers as one body. Pure."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any, Final

from cachecore_llm.testing.provider import ask as asking
from cachecore_llm.testing.provider.answer import Answer, Citation, Used
from cachecore_llm.testing.provider.ask import Ask, Offer, RejectedError, tokens
from cachecore_llm.testing.provider.directives import Directives, parse
from cachecore_llm.testing.provider.fresh import Fresh
from cachecore_llm.testing.provider.protocol import required, served_model, unsupported

NAME: Final = "openai.chat"
_MAX_CHOICES: Final = 128


def prompt(body: Mapping[str, Any]) -> str:
    """Return the text of the last user message as it was sent."""
    return asking.last_user_text(body.get("messages"))[0]


def read(body: dict[str, Any], base: Directives | None, header: str) -> Ask:
    """Return the request. Raises RejectedError as the service refuses, DirectiveError for a bad directive."""
    model = required(body, "model", str, "openai")
    messages = required(body, "messages", list, "openai")
    for n, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise RejectedError(400, f"Missing required parameter: 'messages[{n}].role'.", param=f"messages[{n}].role")
    text, results = asking.last_user_text(messages)
    directives = Directives()
    if base is not None:
        directives, text = parse(text, base)
        directives, _ = parse(header, directives)
    media = asking.media_of(messages)
    choices = asking.positive(body, "n") or 1
    if choices > _MAX_CHOICES:
        raise RejectedError(400, f"Invalid 'n': at most {_MAX_CHOICES}, but got {choices} instead.", param="n")
    stop = body.get("stop") or []
    tools = _offers(body)
    ask = Ask(
        body=body,
        model=model,
        prompt=text,
        directives=directives,
        stream=body.get("stream") is True,
        seed=asking.seed_of(body),
        prompt_tokens=asking.count_tokens(messages, media=len(media)),
        media=media,
        results=results,
        tools=tools,
        forced=_forced(body.get("tool_choice"), tools),
        schema=_schema(body.get("response_format")),
        max_tokens=asking.positive(body, "max_completion_tokens") or asking.positive(body, "max_tokens"),
        stop=(stop,) if isinstance(stop, str) else tuple(one for one in stop if isinstance(one, str) and one),
        reasons=body.get("reasoning_effort") not in (None, "none"),
        choices=choices,
    )
    unsupported(ask, NAME, ("redacted",))
    if "no-stream-options" in directives.compat and "stream_options" in body:
        raise RejectedError(
            400, "Unknown parameter: 'stream_options'.", param="stream_options", kind="unknown_parameter"
        )
    if body.get("stream_options") is not None and not ask.stream:
        raise RejectedError(
            400, "The 'stream_options' parameter is only allowed when 'stream' is enabled.", param="stream_options"
        )
    return ask


def _offers(body: Mapping[str, Any]) -> tuple[Offer, ...]:
    found: list[Offer] = []
    for tool in body.get("tools") or []:
        function = tool.get("function") if isinstance(tool, dict) else None
        if isinstance(function, dict) and isinstance(function.get("name"), str):
            found.append(Offer(function["name"], function.get("parameters")))
    found += [
        Offer(function["name"], function.get("parameters"))
        for function in body.get("functions") or []
        if isinstance(function, dict) and isinstance(function.get("name"), str)
    ]
    return tuple(found)


def _forced(choice: Any, tools: tuple[Offer, ...]) -> Offer | None:
    """Return the tool that `tool_choice` demands."""
    if choice == "required" and tools:
        return tools[0]
    if not isinstance(choice, dict):
        return None
    name = (choice.get("function") or {}).get("name")
    for offer in tools:
        if offer.name == name:
            return offer
    raise RejectedError(400, f"Tool choice '{name}' not found in 'tools' parameter.", param="tool_choice")


def _schema(form: Any) -> Any:
    if not isinstance(form, dict) or form.get("type") in (None, "text"):
        return None
    if form["type"] == "json_object":
        return {}
    schema = (form.get("json_schema") or {}).get("schema")
    if form["type"] != "json_schema" or not isinstance(schema, dict):
        raise RejectedError(
            400, "Missing required parameter: 'response_format.json_schema'.", param="response_format.json_schema"
        )
    return schema


def whole(ask: Ask, answers: list[Answer], fresh: Fresh) -> dict[str, Any]:
    """Return the body of a whole answer."""
    body: dict[str, Any] = {
        "id": fresh.id("chatcmpl-", 29),
        "object": "chat.completion",
        "created": fresh.now,
        "model": served_model(ask.model, "-2026-01-01"),
        "choices": [_choice(ask, answer, index, fresh) for index, answer in enumerate(answers)],
        "usage": usage([answer.used for answer in answers]),
        "service_tier": "default",
        "system_fingerprint": f"fp_{ask.seed[:10]}",
    }
    if isinstance(ask.body.get("metadata"), dict):
        body["metadata"] = ask.body["metadata"]
    if "no-finish" in ask.directives.compat:
        for choice in body["choices"]:
            choice["finish_reason"] = None
    return body


def _choice(ask: Ask, answer: Answer, index: int, fresh: Fresh) -> dict[str, Any]:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": answer.text,
        "refusal": answer.refusal,
        "annotations": [],
    }
    if answer.reasoning is not None and ask.directives.reasoning is not None:
        message["reasoning_content"] = answer.reasoning  # compatible servers alone show it
    if answer.citations:
        message["annotations"] = [annotation(one) for one in answer.citations]
    if answer.tools:
        message["tool_calls"] = [
            {"id": fresh.id("call_"), "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in answer.tools
        ]
    if answer.function is not None:
        message["function_call"] = {"name": answer.function.name, "arguments": answer.function.arguments}
    if "audio" in (ask.body.get("modalities") or ()) and answer.text is not None:
        message["audio"] = {
            "id": fresh.id("audio_"),
            "expires_at": fresh.now + 3600,
            "data": sound(answer.text),
            "transcript": answer.text,
        }
        message["content"] = None
    if answer.unknown:
        message["vendor_extension"] = {"score": 1, "note": answer.text or ""}
    finish = "error" if "finish-error" in ask.directives.compat else answer.finish
    choice = {"index": index, "message": message, "logprobs": _logprobs(ask, answer), "finish_reason": finish}
    if finish == "content_filter" and "empty-first" in ask.directives.compat:
        choice["content_filter_results"] = {"hate": {"filtered": True, "severity": "medium"}}
    return choice


def annotation(citation: Citation) -> dict[str, Any]:
    """Return a citation as chat completions carry it."""
    place = {"start_index": citation.start, "end_index": citation.end, "title": citation.title, "url": citation.url}
    return {"type": "url_citation", "url_citation": place}


def sound(text: str) -> str:
    """Return base64 of bytes that stand for `text` spoken: 24 a token, the same for equal texts."""
    return base64.b64encode(b"".join(hashlib.sha256(token.encode()).digest()[:24] for token in tokens(text))).decode()


def logprob(token: str, top: int) -> dict[str, Any]:
    """Return the log probability of a token and of `top` alternatives; equal tokens have equal ones."""

    def one(text: str, rank: int) -> dict[str, Any]:
        value = -(rank + 1) * (1 + int.from_bytes(hashlib.sha256(text.encode()).digest()[:2])) / 65536
        return {"token": text, "logprob": value, "bytes": list(text.encode())}

    ranked = [one(token if rank == 0 else f"{token}{rank}", rank) for rank in range(top)]
    return {**one(token, 0), "top_logprobs": ranked}


def _logprobs(ask: Ask, answer: Answer) -> dict[str, Any] | None:
    if ask.body.get("logprobs") is not True:
        return None
    top = asking.positive(ask.body, "top_logprobs", 0) or 0

    def listed(text: str | None) -> list[dict[str, Any]] | None:
        return None if text is None else [logprob(token, top) for token in tokens(text)]

    return {"content": listed(answer.text), "refusal": listed(answer.refusal)}


def usage(used: list[Used]) -> dict[str, Any]:
    """Return the usage of all choices; the prompt is counted once."""
    prompt, output = used[0].prompt, sum(one.output for one in used)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output,
        "prompt_tokens_details": {
            "cached_tokens": used[0].cached,
            "audio_tokens": 0,
            "cache_write_tokens": used[0].cache_write,
        },
        "completion_tokens_details": {
            "reasoning_tokens": sum(one.reasoning for one in used),
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
