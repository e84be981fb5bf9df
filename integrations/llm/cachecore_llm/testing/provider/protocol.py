"""The interface of a protocol: it reads a request, makes the body of an answer, and splits a body into events."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple
from typing import Protocol as TypingProtocol

from cachecore_llm.testing.provider.answer import Answer
from cachecore_llm.testing.provider.ask import Ask
from cachecore_llm.testing.provider.directives import Directives
from cachecore_llm.testing.provider.fields import RejectedError, Vendor
from cachecore_llm.testing.provider.fresh import Fresh


class Event(NamedTuple):
    """A server-sent event. `data` is encoded as JSON, text is sent as it is; `name` None: no `event:` line."""

    name: str | None
    data: Any


class Whole(TypingProtocol):
    """Makes the body of answers."""

    def __call__(self, ask: Ask, answers: list[Answer], fresh: Fresh) -> dict[str, Any]:
        """Return the body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """One wire format. All functions are pure but for ids and times, which come from `Fresh`."""

    name: str
    path: str
    vendor: Vendor
    read: Callable[[dict[str, Any], Directives | None, str], Ask]
    """(body, base directives or None for none at all, directives of the header) -> request. Raises RejectedError."""
    whole: Whole
    events: Callable[[Ask, dict[str, Any], Fresh], Iterator[Event]] | None
    """The events from which a client assembles that body."""
    failure: Callable[[str | None, int], list[Event]] | None
    """(kind, number of events sent) -> the events of an error inside a stream."""
    deviations: frozenset[str]
    """Names of `[[compat …]]` that this protocol has."""
    prompt: Callable[[dict[str, Any]], str]
    """The text of the last user message as it was sent."""


def served_model(model: str, date: str) -> str:
    """Return the dated name under which a service answers for an alias: the name that was asked for with `date`."""
    return model if model[-len(date) :].replace("-", "").isdigit() and len(model) > len(date) else f"{model}{date}"


def unsupported(ask: Ask, protocol: str, fields: tuple[str, ...]) -> None:
    """Raise RejectedError if the request is told something that its protocol cannot say."""
    for name in fields:
        if getattr(ask.directives, name):
            raise RejectedError(
                400, f"[[{name}]] has no form in {protocol}; leave it out of this request", kind="unsupported_directive"
            )
