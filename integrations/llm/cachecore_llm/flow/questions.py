"""The question in a request, and all the rest of it, which two requests must share for their questions to be compared.

Only a request of one user turn, in text, without tools, media or a form of the answer has a question in this sense.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from cachecore_llm.wire import JsonObject, ProtocolName, RequestFacts

_COMPARED: Final = frozenset({"openai.chat", "plain"})


class Question(NamedTuple):
    """A question, and the request without it."""

    text: str
    rest: JsonObject
    """The value to key without the question."""
    protocol: ProtocolName

    def asked(self, text: str) -> JsonObject:
        """Return the value to key for another question in its place."""
        body = self.rest["body"]
        if self.protocol == "plain":
            return {**self.rest, "body": {**body, "user_message": text}}
        messages = [*body["messages"][:-1], {**body["messages"][-1], "content": text}]
        return {**self.rest, "body": {**body, "messages": messages}}


def question_in(protocol: ProtocolName, request: JsonObject, facts_of: Callable[[], RequestFacts]) -> Question | None:
    """Return the question of the request that is keyed as `request`; None if it has none that may be compared.

    `facts_of` gives the facts of its body; they are not read of a request that has no question anyway. Whether there
    is a question depends on `Question.rest` alone, once `split` has found one.
    """
    found = split(protocol, request)
    if found is None:
        return None
    facts = facts_of()
    if facts.tools or facts.media or facts.output != "text" or facts.n != 1 or facts.user_turns != 1:
        return None
    return found


def split(protocol: ProtocolName, request: JsonObject) -> Question | None:
    """Return the text at the place of a question, and the request without it; None if there is no such text."""
    body = request.get("body")
    if protocol not in _COMPARED or not isinstance(body, dict):
        return None
    if protocol == "plain":
        text = body.get("user_message")
        rest = {**body, "user_message": None}
    else:
        messages = body.get("messages")
        last = messages[-1] if isinstance(messages, list) and messages else None
        if not isinstance(messages, list) or not isinstance(last, dict) or last.get("role") != "user":
            return None
        text = last.get("content")
        rest = {**body, "messages": [*messages[:-1], {**last, "content": None}]}
    return Question(text, {**request, "body": rest}, protocol) if isinstance(text, str) else None
