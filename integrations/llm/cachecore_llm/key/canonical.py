"""From a call to the plain value that is its key: two calls have one value only if one answer serves both.

The value holds dicts, lists, texts, numbers and bytes. JSON has no bytes, so what stands for media, ids, secrets and
ordered properties (a list that begins with bytes) never equals a part of a body.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from cachecore_llm.key.blocks import Blocks, form
from cachecore_llm.key.bypass import bypass_reason
from cachecore_llm.key.fields import REAL_FIELDS, UNORDERED_FIELDS, UNORDERED_HEADERS, Verdict, named
from cachecore_llm.key.ids import name_ids
from cachecore_llm.key.secret_fields import Digester
from cachecore_llm.key.survey import survey
from cachecore_llm.wire.call import Call, JsonObject, ProtocolName, RequestFacts

_MESSAGES = frozenset({"input", "messages", "system"})
_TOOLS = frozenset({"functions", "mcp_servers", "tools"})
_FORMS = frozenset({"output_config", "output_format", "response_format", "text"})


class RefusedFieldError(ValueError):
    """A body holds a field that belongs elsewhere, so it cannot be keyed. The text names the field, never its value."""

    def __init__(self, protocol: str, field: str, reason: str) -> None:
        super().__init__(protocol, field, reason)
        self.protocol, self.field, self.reason = protocol, field, reason

    def __str__(self) -> str:
        return f"{self.protocol}: {self.field} is no field of a request body: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyed:
    """A call that has a key."""

    request: JsonObject
    """The value to key. It shares parts with the body: do not change it. It holds prompts: do not log it."""
    objects: frozenset[str]
    """Fields that name objects which the provider keeps for its customer, such as `file_id`.

    Unless this is empty, the scope of the call must be that of its credential.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Bypass:
    """A call that never comes from the cache. `reason` holds nothing of the body but names of fields and kinds."""

    reason: str


def key_of(
    call: Call, facts: RequestFacts, *, allowed_tools: AbstractSet[str] = frozenset(), digester: Digester | None = None
) -> Keyed | Bypass:
    """Return what `call` is keyed by, or why it is not. `facts` are those of its body.

    O(size of the body): about 0.25 ms for a chat of 12 KB with 8 tools, 7 ms for a picture of 1 MB.

    Args:
        call: unchanged.
        facts: what the protocol's `parse` returned for `call.body`.
        allowed_tools: names or kinds of tools that run at the provider and are cached although they may act.
        digester: makes digests of the credentials in a body; without a key by default.

    Raises:
        RefusedFieldError: the body holds an argument of an SDK.
        UnreadableRequestError: the body is nested too deeply.
    """
    _refuse(call)
    reason = bypass_reason(call, facts, allowed_tools)
    if reason is not None:
        return Bypass(reason=reason)
    body = _kept(call.protocol, call.body)
    seen = survey(call.protocol, body)
    ids = name_ids(call.protocol, body, seen.texts)
    blocks = Blocks(ids, digester or Digester())
    return Keyed(
        request={
            "protocol": call.protocol,
            "endpoint": call.endpoint,
            "headers": {name: _header(name, value) for name, value in call.headers.items()},
            "scope": call.scope,
            "tenant": call.tenant,
            "prompt": call.prompt,
            "prompt_version": call.prompt_version,
            "body": {field: _value(field, value, blocks) for field, value in body.items()},
        },
        objects=seen.objects | ({"call_id"} if ids.unpaired else set()),
    )


def _refuse(call: Call) -> None:
    for field, reason in named(call.protocol, Verdict.REFUSED).items():
        if call.body.get(field) is not None:
            raise RefusedFieldError(call.protocol, field, reason)


def _kept(protocol: ProtocolName, body: JsonObject) -> JsonObject:
    """Return the fields that are keyed."""
    left_out = named(protocol, Verdict.NOT_KEYED)
    null_is_absent = protocol != "anthropic.messages"
    kept = {
        field: value
        for field, value in body.items()
        if field not in left_out and not (value is None and null_is_absent)
    }
    options = kept.get("prompt_cache_options")
    if isinstance(options, dict):
        rest = {name: value for name, value in options.items() if f"prompt_cache_options.{name}" not in left_out}
        kept["prompt_cache_options"] = rest
        if not rest:
            del kept["prompt_cache_options"]
    if protocol == "openai.responses" and kept.get("store") is True:
        del kept["store"]  # true is the default there
    return kept


def _value(field: str, value: Any, blocks: Blocks) -> Any:
    """Return what is keyed for a field of the body."""
    if field in _MESSAGES:
        return blocks.messages(value)
    if field in _TOOLS:
        return blocks.tools(value)
    if field in _FORMS:
        return form(value)
    if field == "prompt":
        return blocks.variables(value)
    if field == "prediction":
        return blocks.messages([value])[0]
    if field in REAL_FIELDS and type(value) is int:
        return _real(value)
    if field in UNORDERED_FIELDS and isinstance(value, list) and all(isinstance(one, str) for one in value):
        return sorted(set(value))
    return value


def _real(value: int) -> float:
    """Return `value` as a real number if there is one that is equal to it."""
    try:
        real = float(value)
    except OverflowError:
        return value
    return real if real == value else value


def _header(name: str, value: str) -> Any:
    if name not in UNORDERED_HEADERS:
        return value
    return sorted({word.strip() for word in value.split(",")} - {""})
