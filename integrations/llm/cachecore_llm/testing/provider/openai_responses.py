"""`openai.responses`: reading a request to /v1/responses, and its answer as one body. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cachecore_llm.testing.provider import ask as asking
from cachecore_llm.testing.provider.answer import Answer, Used
from cachecore_llm.testing.provider.ask import Ask, Offer, tokens
from cachecore_llm.testing.provider.directives import Directives
from cachecore_llm.testing.provider.fields import Fields, RejectedError
from cachecore_llm.testing.provider.fresh import Fresh
from cachecore_llm.testing.provider.openai_chat import logprob
from cachecore_llm.testing.provider.protocol import served_model, unsupported

NAME: Final = "openai.responses"
_FINISHES: Final = {
    # finish: (status, reason why it is incomplete)
    "stop": ("completed", None),
    "length": ("incomplete", "max_output_tokens"),
    "content_filter": ("incomplete", "content_filter"),
    "failed": ("failed", None),
}
_ECHOED: Final[tuple[tuple[str, Any], ...]] = (
    # (field, default): a response repeats the settings of its request
    ("background", False),
    ("instructions", None),
    ("max_output_tokens", None),
    ("max_tool_calls", None),
    ("metadata", {}),
    ("parallel_tool_calls", True),
    ("previous_response_id", None),
    ("prompt_cache_key", None),
    ("prompt_cache_retention", None),
    ("safety_identifier", None),
    ("store", True),
    ("temperature", 1.0),
    ("tool_choice", "auto"),
    ("tools", []),
    ("top_logprobs", 0),
    ("top_p", 1.0),
    ("truncation", "disabled"),
    ("user", None),
)


def _items(body: Mapping[str, Any]) -> list[Any]:
    given = body.get("input")
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    return given if isinstance(given, list) else []


def prompt(body: Mapping[str, Any]) -> str:
    """Return the text of the last user message as it was sent."""
    return asking.last_user_text(_items(body))[0]


def read(body: dict[str, Any], base: Directives | None, header: str) -> Ask:
    """Return the request. Raises RejectedError as the service refuses, DirectiveError for a bad directive."""
    given = Fields(body, "openai")
    model = given.required("model", str)
    given.required("input", str if isinstance(body.get("input"), str) else list)
    items = _items(body)
    text, results = asking.last_user_text(items)
    directives, text = asking.directed(text, base, header)
    media = asking.media_of(items)
    tools = tuple(
        Offer(one.required("name", str), one.object("parameters").values)
        for one in (Fields(tool, "openai", f"tools[{n}]") for n, tool in enumerate(given.objects("tools")))
        if one.values.get("type") == "function"
    )
    reasoning, included = given.object("reasoning"), given.texts("include")
    top = given.whole("top_logprobs", 0, 20) or 0
    ask = Ask(
        body=body,
        model=model,
        prompt=text,
        directives=directives,
        stream=body.get("stream") is True,
        seed=asking.seed_of(body),
        prompt_tokens=asking.count_tokens(given.text("instructions"), items, media=len(media)),
        media=media,
        results=results,
        tools=tools,
        forced=_forced(given, tools),
        schema=_schema(given.object("text").object("format")),
        max_tokens=given.whole("max_output_tokens"),
        reasons=bool(reasoning.values) and reasoning.text("effort") != "none",
        logprobs=top if "message.output_text.logprobs" in included else None,
        included=included,
        options=given.object("stream_options").values,
    )
    given.object("metadata")
    unsupported(ask, NAME, ("function",))
    if directives.finish not in (None, *_FINISHES):
        known = ", ".join(_FINISHES)
        raise RejectedError(400, f"[[finish {directives.finish}]] has no form in {NAME}; known are {known}")
    return ask


def _forced(given: Fields, tools: tuple[Offer, ...]) -> Offer | None:
    """Return the tool that `tool_choice` demands."""
    choice = given.values.get("tool_choice")
    if choice is None or isinstance(choice, str):
        return asking.forced(None, tools) if choice == "required" else None
    one = given.object("tool_choice")
    return asking.forced(one.required("name", str), tools) if one.values.get("type") == "function" else None


def _schema(form: Fields) -> Any:
    kind = form.text("type")
    if kind in (None, "text"):
        return None
    if kind == "json_object":
        return {}
    if kind != "json_schema":
        raise form.refuse("type", "'text', 'json_object' or 'json_schema'", kind)
    return form.required("schema", dict)


def whole(ask: Ask, answers: list[Answer], fresh: Fresh) -> dict[str, Any]:
    """Return the body of a whole answer."""
    answer = answers[0]
    status, reason = _FINISHES.get(answer.finish, ("completed", None))
    failed = {"code": "server_error", "message": "The model failed to generate a response."}
    body: dict[str, Any] = {
        "id": fresh.id("resp_", 48),
        "object": "response",
        "created_at": fresh.now,
        "status": status,
        "completed_at": fresh.now if status == "completed" else None,
        "error": failed if status == "failed" else None,
        "incomplete_details": {"reason": reason} if reason else None,
        "model": served_model(ask.model, "-2026-01-01"),
        "output": _output(ask, answer, status, fresh),
        "reasoning": {"effort": None, "summary": None, **(ask.body.get("reasoning") or {})},
        "service_tier": "default",
        "text": {"format": {"type": "text"}, "verbosity": "medium", **(ask.body.get("text") or {})},
        "usage": usage(answer.used),
    }
    for name, usual in _ECHOED:
        given = ask.body.get(name)
        body[name] = usual if given is None else given
    # Settings come back complete: a function tool says whether it is strict.
    body["tools"] = [
        {"strict": True, "parameters": None, **tool} if tool.get("type") == "function" else tool
        for tool in body["tools"]
    ]
    return body


def _output(ask: Ask, answer: Answer, status: str, fresh: Fresh) -> list[dict[str, Any]]:
    output: list[dict[str, Any]] = []
    item_status = "completed" if status == "completed" else "incomplete"
    if answer.reasoning is not None or answer.redacted:
        output.append(_reasoning(ask, answer, "reasoning.encrypted_content" in ask.included, fresh))
    if answer.search is not None:
        action: dict[str, Any] = {"type": "search", "query": answer.search, "queries": [answer.search]}
        if "web_search_call.action.sources" in ask.included:
            action["sources"] = [{"type": "url", "url": one.url} for one in answer.citations]
        output.append({"id": fresh.id("ws_", 48), "type": "web_search_call", "status": "completed", "action": action})
    content: list[dict[str, Any]] = []
    if answer.text is not None:
        content.append(_text(ask, answer))
    if answer.refusal is not None:
        content.append({"type": "refusal", "refusal": answer.refusal})
    if content:
        output.append(
            {
                "id": fresh.id("msg_", 48),
                "type": "message",
                "status": item_status,
                "role": "assistant",
                "content": content,
            }
        )
    output += [
        {
            "id": fresh.id("fc_", 48),
            "type": "function_call",
            "status": item_status,
            "call_id": fresh.id("call_"),
            "name": call.name,
            "arguments": call.arguments,
        }
        for call in answer.tools
    ]
    if answer.unknown:
        output.append(
            {"id": fresh.id("vi_", 48), "type": "vendor_item", "status": "completed", "payload": {"score": 1}}
        )
    return output


def _reasoning(ask: Ask, answer: Answer, encrypted: bool, fresh: Fresh) -> dict[str, Any]:
    """Return a reasoning item: a summary where one was asked for, the text itself where a directive tells it."""
    item: dict[str, Any] = {"id": fresh.id("rs_", 48), "type": "reasoning", "summary": []}
    told = ask.directives.reasoning is not None
    if answer.reasoning is not None and ((ask.body.get("reasoning") or {}).get("summary") or not told):
        item["summary"] = [{"type": "summary_text", "text": answer.reasoning}]
    elif answer.reasoning is not None:
        item["content"] = [{"type": "reasoning_text", "text": answer.reasoning}]
    if encrypted or answer.redacted:
        item["encrypted_content"] = fresh.opaque(answer.reasoning or "")
    return item


def _text(ask: Ask, answer: Answer) -> dict[str, Any]:
    annotations = [
        {"type": "url_citation", "start_index": one.start, "end_index": one.end, "title": one.title, "url": one.url}
        for one in answer.citations
    ]
    part = {"type": "output_text", "text": answer.text, "annotations": annotations, "logprobs": []}
    if ask.logprobs is not None:
        part["logprobs"] = [logprob(token, ask.logprobs) for token in tokens(answer.text or "")]
    return part


def usage(used: Used) -> dict[str, Any]:
    """Return the usage of a response."""
    return {
        "input_tokens": used.prompt,
        "input_tokens_details": {"cached_tokens": used.cached, "cache_write_tokens": used.cache_write},
        "output_tokens": used.output,
        "output_tokens_details": {"reasoning_tokens": used.reasoning},
        "total_tokens": used.prompt + used.output,
    }
