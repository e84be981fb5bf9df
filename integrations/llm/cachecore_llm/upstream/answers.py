"""Failures in the form of answers: errors under HTTP 200 or inside a stream, and bodies without an answer."""

from __future__ import annotations

from typing import Final

from cachecore_llm.errors import ReportedError, UnusableAnswerError
from cachecore_llm.wire import PROTOCOLS, AnswerFacts, ErrorFacts, JsonObject, ProtocolName
from cachecore_llm.wire.facts import as_object, as_objects, error_facts

_NEEDED: Final[dict[ProtocolName, str]] = {
    "openai.chat": "choices",
    "openai.responses": "output",
    "openai.embeddings": "data",
    "anthropic.messages": "content",
}
"""The list without which a body is no answer."""


def checked(provider: str, protocol: ProtocolName, body: JsonObject) -> JsonObject:
    """Return `body` if it is an answer. Raises ReportedError or UnusableAnswerError."""
    facts_of(provider, protocol, body)
    return body


def facts_of(provider: str, protocol: ProtocolName, body: JsonObject) -> AnswerFacts | None:
    """Return the facts of `body` if it is an answer; None for `plain`, which has none. Raises as `checked`."""
    if not isinstance(body, dict):
        raise UnusableAnswerError(provider, f"its body is a JSON {type(body).__name__}, not an object")
    known = PROTOCOLS.get(protocol)
    facts = None if known is None else known.facts(body)
    if facts is not None and facts.error is not None:
        raise reported(provider, facts.error)
    part = _NEEDED.get(protocol)
    if part is not None and (not isinstance(body.get(part), list) or (protocol == "openai.chat" and not body[part])):
        raise UnusableAnswerError(provider, f"no {part}")
    if protocol == "openai.chat":
        _check_messages(provider, body)
    return facts


def _check_messages(provider: str, body: JsonObject) -> None:
    for choice in as_objects(body["choices"]):
        message = choice.get("message")
        if not isinstance(message, dict) or not isinstance(message.get("content"), str | list | None):
            raise UnusableAnswerError(provider, "no message")


def error_in(event: JsonObject) -> ErrorFacts | None:
    """Return the error that an event of a stream carries. O(1)."""
    kind = event.get("type")
    if kind == "response.failed":
        return error_facts(as_object(event.get("response")).get("error"))
    if event.get("error") is not None:
        return error_facts(event["error"])
    return error_facts(event) if kind == "error" or event.get("object") == "error" else None


def reported(provider: str, error: ErrorFacts, event: JsonObject | None = None) -> ReportedError:
    """Return the error to raise. `event`: that of a stream which carried it."""
    made = ReportedError(provider, error.status, error.kind, error.code)
    made.came = event
    return made
