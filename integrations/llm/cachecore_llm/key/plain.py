"""The key of a call of the protocol `plain`: all of it, less the fields for transport.

Values need not be JSON. A value without a canonical form stays as it is, and the core's error names its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cachecore_llm.key.blocks import Blocks, form
from cachecore_llm.key.fields import REAL_FIELDS, Verdict, named, real
from cachecore_llm.key.schemas import ordered
from cachecore_llm.wire.call import JsonObject

_LEFT_OUT: Final = frozenset(
    name.removeprefix("params.") for name in named("plain", Verdict.NOT_KEYED) if name.startswith("params.")
)
"""Parameters that are not keyed."""

_FIELDS: Final = frozenset({"system_prompt", "user_message", "context", "params"})

_DENIED: Final = frozenset(
    {
        *("accept", "accept-encoding", "connection", "content-length", "content-type", "host", "user-agent"),
        *("cache-control", "pragma", "cookie", "set-cookie", "x-should-retry"),
        *("traceparent", "tracestate", "baggage", "b3", "sentry-trace", "x-amzn-trace-id", "x-cloud-trace-context"),
        *("x-request-id", "x-correlation-id", "request-id", "x-trace-id", "x-client-request-id"),
        *("idempotency-key", "x-idempotency-key"),
    }
)
_DENIED_STARTS: Final = ("x-stainless-", "x-b3-", "x-datadog-")


def shapes_answer(header: str) -> bool:
    """Return whether a request header is keyed: every one but transport, tracing and idempotency.

    A credential that is given with one request is keyed: another caller may be answered otherwise.
    """
    name = header.lower()
    return name not in _DENIED and not name.startswith(_DENIED_STARTS)


def plain_form(body: JsonObject, blocks: Blocks) -> JsonObject:
    """Return the keyed form of a body. It shares parts with it."""
    question, context = body.get("user_message"), body.get("context")
    if not isinstance(question, str):
        question = blocks.messages([{"role": "user", "content": as_plain(question)}])[0]["content"]
    if isinstance(context, list | tuple):
        context = [as_plain(turn) for turn in context]
        if all(isinstance(turn, dict) and isinstance(turn.get("role"), str) for turn in context):
            context = blocks.messages(context)
    params = {name: _param(name, value) for name, value in (body.get("params") or {}).items() if name not in _LEFT_OUT}
    headers = params.get("extra_headers")
    if isinstance(headers, Mapping):
        kept = {str(name).lower(): value for name, value in headers.items() if shapes_answer(str(name))}
        params["extra_headers"] = kept
        if not kept:
            del params["extra_headers"]
    others = {field: value for field, value in body.items() if field not in _FIELDS}
    return {
        **others,
        "system_prompt": body.get("system_prompt"),
        "user_message": question,
        "context": context,
        "params": params,
    }


def as_plain(value: Any) -> Any:
    """Return the fields of a pydantic model that were set, in place of the model, also inside lists and objects."""
    kind = type(value)
    if kind is dict:
        return {name: as_plain(inner) for name, inner in value.items()}
    if kind is list:
        return [as_plain(inner) for inner in value]
    dump = None if isinstance(value, type) else getattr(kind, "model_dump", None)
    return value if not callable(dump) else value.model_dump(mode="json", by_alias=True, exclude_unset=True)


def _param(name: str, value: Any) -> Any:
    if name in REAL_FIELDS:
        return real(value) if type(value) is int else value
    if isinstance(value, type):
        schema = getattr(value, "model_json_schema", None)
        return [b"schema", ordered(schema())] if callable(schema) else value
    if name in ("response_format", "text"):
        return form(as_plain(value))
    return as_plain(value) if type(value) in (list, dict) or hasattr(type(value), "model_dump") else value
