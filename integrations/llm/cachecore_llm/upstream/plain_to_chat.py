"""Plain requests for a provider that speaks chat completions, and its answers as plain ones, whole and streamed.

How a plain request is written as messages: the system prompt first; then the context: a list of messages as it is (the
conversation so far), text or any other plain data as a second system message; then the user message.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import replace
from typing import Any, Final

from cachecore_llm.errors import UnsupportedRequestError, UnusableAnswerError
from cachecore_llm.upstream.parameters import check_parameters, unwritable
from cachecore_llm.upstream.provider import with_query
from cachecore_llm.wire import OPENAI_CHAT, AnswerFacts, Call, JsonObject, UsageFacts
from cachecore_llm.wire.facts import as_object, as_objects

_LOST: Final = ("logprobs", "top_logprobs", "audio")
"""Parameters that ask for more than a plain answer can hold: they are refused, never dropped silently."""

_ROLES: Final = frozenset({"system", "developer", "user", "assistant", "tool", "function"})


def messages_of(system_prompt: str, user_message: Any, context: Any) -> list[JsonObject]:
    """Return the messages of a chat request. `user_message` is text, or a list of content parts.

    Raises UnsupportedRequestError for a context that JSON cannot hold.
    """
    messages: list[JsonObject] = [{"role": "system", "content": system_prompt}] if system_prompt else []
    if isinstance(context, list | tuple) and _is_conversation(context):
        messages += context
    elif context is not None and not (isinstance(context, str | list | tuple | dict) and not context):
        text = context if isinstance(context, str) else _written(context)
        messages.append({"role": "system", "content": text})
    return [*messages, {"role": "user", "content": user_message}]


def _written(context: Any) -> str:
    try:
        return json.dumps(context, ensure_ascii=False, sort_keys=True)
    except TypeError as error:
        raise unwritable(context, "context") from error


def chat_call(call: Call, model: str | None) -> Call:
    """Return a plain call as one of `openai.chat`; `model` where it names none.

    Raises UnknownParameterError, and UnsupportedRequestError for an effect that a plain answer cannot hold.
    """
    params: Mapping[str, Any] = call.body.get("params") or {}
    lost = [name for name in _LOST if params.get(name)]
    if params.get("n") not in (None, 1):
        lost.append("n")
    if lost:
        raise UnsupportedRequestError(f"a plain answer cannot hold what {', '.join(lost)} asks for")
    check_parameters("openai.chat", params)
    body = {name: value for name, value in params.items() if name not in ("extra_body", "extra_headers", "extra_query")}
    body |= params.get("extra_body") or {}
    if body.get("model") is None and model is not None:
        body["model"] = model
    body["messages"] = messages_of(
        call.body.get("system_prompt") or "", call.body.get("user_message") or "", call.body.get("context")
    )
    headers = {name.lower(): value for name, value in (params.get("extra_headers") or {}).items()}
    query = params.get("extra_query")
    return replace(
        call,
        protocol="openai.chat",
        body=body,
        headers={**call.headers, **headers},
        endpoint=with_query(call.endpoint, query) if query else call.endpoint,
    )


def plain_answer(body: JsonObject, provider: str) -> JsonObject:
    """Return the body of a chat completion as that of a plain answer. Raises UnusableAnswerError if it is none."""
    facts = OPENAI_CHAT.facts(body)
    if not facts.choices:
        raise UnusableAnswerError(provider, "no choices")
    return {"content": facts.choices[0].text, **_ending(facts)}


def _ending(facts: AnswerFacts) -> JsonObject:
    """Return the fields of a plain answer beside its text."""
    choice = facts.choices[0]
    said: JsonObject = {
        "model": facts.model,
        "usage": _usage(facts.usage),
        "finish_reason": choice.raw_finish,
        "tool_calls": [
            {"id": call.id or "", "name": call.name or "", "arguments": call.arguments} for call in choice.tool_calls
        ],
        "refusal": choice.refusal,
        "reasoning": choice.reasoning,
    }
    return {name: value for name, value in said.items() if value not in (None, "", [])}


def _usage(usage: UsageFacts | None) -> JsonObject | None:
    if usage is None:
        return None
    counted = {"prompt_tokens": usage.input_tokens, "completion_tokens": usage.output_tokens}
    more = {"cached_tokens": usage.cached_input_tokens, "reasoning_tokens": usage.reasoning_tokens}
    return {**counted, **{name: value for name, value in more.items() if value}}


async def plain_events(events: AsyncIterator[JsonObject], provider: str) -> AsyncGenerator[JsonObject, None]:
    """Yield the chunks of a chat completion as events of a plain answer.

    Without an end if the chunks have none. Raises UnusableAnswerError if they hold no choice.
    """
    assembly = OPENAI_CHAT.assembly()
    async for event in events:
        if event.get("error") is not None or event.get("object") == "error":
            yield event  # the reader of errors knows it in any protocol
            return
        assembly.feed(OPENAI_CHAT.neutral(event))
        for choice in as_objects(event.get("choices")):
            piece = as_object(choice.get("delta")).get("content")
            if isinstance(piece, str) and piece and choice.get("index", 0) == 0:
                yield {"text": piece}
    assembly.end()
    recording = assembly.recording()
    if recording.body is None:
        raise UnusableAnswerError(provider, "no choices")
    facts = OPENAI_CHAT.facts(recording.body)
    if recording.complete and facts.choices:
        yield {"end": _ending(facts)}


def _is_conversation(context: list[Any] | tuple[Any, ...]) -> bool:
    return bool(context) and all(isinstance(message, Mapping) and message.get("role") in _ROLES for message in context)
