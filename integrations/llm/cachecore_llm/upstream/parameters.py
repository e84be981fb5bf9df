"""Which parameters a protocol has, as the installed SDK's types list them."""

from __future__ import annotations

import difflib
import functools
import importlib
import inspect
from collections.abc import Iterable, Mapping
from typing import Any, Final

from cachecore_llm.errors import UnknownParameterError, UnsupportedRequestError
from cachecore_llm.key import TABLE
from cachecore_llm.wire import JsonObject, ProtocolName

TRANSPORT: Final = frozenset(
    {"timeout", "max_retries", "request_id", "correlation_id", "trace_id", "span_id", "idempotency_key"}
)
"""Parameters that every protocol takes here, and that are no fields of a body: providers take them out."""

_EXTRA: Final = frozenset({"extra_body", "extra_headers", "extra_query"})

_METHODS: Final[dict[ProtocolName, tuple[str, str, str]]] = {
    "openai.chat": ("openai.resources.chat.completions", "AsyncCompletions", "create"),
    "openai.responses": ("openai.resources.responses", "AsyncResponses", "create"),
    "openai.embeddings": ("openai.resources.embeddings", "AsyncEmbeddings", "create"),
    "anthropic.messages": ("anthropic.resources.beta.messages", "AsyncMessages", "create"),
}
"""Module, class and method of the SDK that sends a request of the protocol."""


def unknown_parameters(protocol: ProtocolName, names: Iterable[str]) -> dict[str, str | None]:
    """Return those of `names` that the protocol does not have, each with the nearest that it has.

    A plain request has any: its provider alone knows which it takes.
    """
    if protocol == "plain":
        return {}
    known = parameters(protocol)
    return {name: _nearest(name, known) for name in names if name not in known}


def check_parameters(protocol: ProtocolName, names: Iterable[str]) -> None:
    """Raise UnknownParameterError if the protocol does not have one of `names`."""
    for name, nearest in unknown_parameters(protocol, names).items():
        raise UnknownParameterError(protocol, name, nearest)


@functools.cache
def parameters(protocol: ProtocolName) -> frozenset[str]:
    """Return the names of a protocol's parameters: of the installed SDK, else those that this package knows."""
    module, kind, method = _METHODS[protocol]
    try:
        create = getattr(getattr(importlib.import_module(module), kind), method)
    except (ImportError, AttributeError):
        listed = {row.name for row in TABLE[protocol] if "." not in row.name}
    else:
        listed = set(inspect.signature(create).parameters) - {"self"}
    return frozenset(listed | TRANSPORT | _EXTRA)


def _nearest(name: str, known: frozenset[str]) -> str | None:
    return next(iter(difflib.get_close_matches(name, known, 1)), None)


def sendable(body: JsonObject) -> JsonObject:
    """Return the fields of `body` that are sent: without transport parameters, and without `stream`."""
    return {name: value for name, value in body.items() if name not in TRANSPORT and name != "stream"}


def unwritable(value: Any, place: str) -> UnsupportedRequestError:
    """Return the error for a value at `place` that cannot be written as JSON: it names the part that cannot."""
    found = _first_unwritable(value, place)
    if found is None:
        return UnsupportedRequestError(f"{place} cannot be written as JSON: its names are of several types, use text")
    where, kind = found
    return UnsupportedRequestError(
        f"{where} is of the type {kind}, which JSON does not have: give it as text, a number or a list"
    )


def _first_unwritable(value: Any, place: str) -> tuple[str, str] | None:
    """Return the place and type of the first part that JSON does not have."""
    if value is None or isinstance(value, str | int | float):
        return None
    if isinstance(value, Mapping):
        parts = [(f"{place}.{name}" if place else str(name), part) for name, part in value.items()]
    elif isinstance(value, list | tuple):
        parts = [(f"{place}[{index}]", part) for index, part in enumerate(value)]
    else:
        return place, type(value).__name__
    return next((found for where, part in parts if (found := _first_unwritable(part, where)) is not None), None)
