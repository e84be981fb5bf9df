"""`openai.chat`: reading a request to /v1/chat/completions, and its answers as one body. Pure."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any, Final

from cachecore_llm.testing.provider import ask as asking
from cachecore_llm.testing.provider.answer import Answer, Citation, Used
from cachecore_llm.testing.provider.ask import Ask, Offer, tokens
from cachecore_llm.testing.provider.directives import Directives
from cachecore_llm.testing.provider.fields import Fields, RejectedError
from cachecore_llm.testing.provider.fresh import Fresh
from cachecore_llm.testing.provider.protocol import served_model, unsupported

NAME: Final = "openai.chat"
_MAX_CHOICES: Final = 128
_MAX_LOGPROBS: Final = 20


def prompt(body: Mapping[str, Any]) -> str:
    """Return the text of the last user message as it was sent."""
    return asking.last_user_text(body.get("messages"))[0]


def read(body: dict[str, Any], base: Directives | None, header: str) -> Ask:
    """Return the request. Raises RejectedError as the service refuses, DirectiveError for a bad directive."""
    given = Fields(body, "openai")
    model = given.required("model", str)
    given.required("messages", list)
    messages = given.objects("messages")
    for n, message in enumerate(messages):
        Fields(message, "openai", f"messages[{n}]").required("role", str)
    text, results = asking.last_user_text(messages)
    directives, text = asking.directed(text, base, header)
    media = asking.media_of(messages)
    tools = _offers(given)
    limit = given.whole("max_completion_tokens")
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
        forced=_forced(given, tools),
        schema=_schema(given.object("response_format")),
        max_tokens=limit or given.whole("max_tokens"),
        stop=given.texts("stop"),
        reasons=given.text("reasoning_effort") not in (None, "none"),
        choices=given.whole("n", most=_MAX_CHOICES) or 1,
        logprobs=given.whole("top_logprobs", 0, _MAX_LOGPROBS) or 0 if body.get("logprobs") is True else None,
        spoken="audio" in given.texts("modalities"),
        options=given.object("stream_options").values,
    )
    given.object("metadata")
    unsupported(ask, NAME, ("redacted",))
    if "no-stream-options" in directives.compat and "stream_options" in body:
        raise RejectedError(
            400, "Unknown parameter: 'stream_options'.", param="stream_options", kind="unknown_parameter"
        )
    if body.get("stream_options") is not None and not ask.stream:
        reason = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise RejectedError(400, reason, param="stream_options")
    return ask


def _offers(given: Fields) -> tuple[Offer, ...]:
    functions = [
        Fields(tool, "openai", f"tools[{n}]").object("function") for n, tool in enumerate(given.objects("tools"))
    ]
    functions += [Fields(one, "openai", f"functions[{n}]") for n, one in enumerate(given.objects("functions"))]
    # A tool of another type than function has no such field.
    return tuple(Offer(one.required("name", str), one.object("parameters").values) for one in functions if one.values)


def _forced(given: Fields, tools: tuple[Offer, ...]) -> Offer | None:
    """Return the tool that `tool_choice` demands."""
    choice = given.values.get("tool_choice")
    if choice is None or isinstance(choice, str):
        return asking.forced(None, tools) if choice == "required" else None
    function = given.object("tool_choice").object("function")
    return asking.forced(function.required("name", str), tools) if function.values else None


def _schema(form: Fields) -> Any:
    kind = form.text("type")
    if kind in (None, "text"):
        return None
    if kind == "json_object":
        return {}
    if kind != "json_schema":
        raise form.refuse("type", "'text', 'json_object' or 'json_schema'", kind)
    return form.object("json_schema").required("schema", dict)


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
    if ask.body.get("metadata") is not None:
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
    if ask.spoken and answer.text is not None:
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
    top = ask.logprobs
    if top is None:
        return None

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
