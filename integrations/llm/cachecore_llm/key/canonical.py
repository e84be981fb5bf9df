"""From a call to the plain value that is its key: two calls have one value only if one answer serves both.

The value holds dicts, lists, texts, numbers and bytes. JSON has no bytes, so what stands for media, ids, secrets and
ordered properties (a list that begins with bytes) never equals a part of a body.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Final

from cachecore_llm.key.blocks import Blocks, form
from cachecore_llm.key.bypass import bypass_reason
from cachecore_llm.key.fields import REAL_FIELDS, UNORDERED_FIELDS, UNORDERED_HEADERS, Verdict, named, real
from cachecore_llm.key.ids import Names, name_ids
from cachecore_llm.key.plain import plain_form
from cachecore_llm.key.secret_fields import Digester
from cachecore_llm.key.survey import OBJECT_FIELDS, survey
from cachecore_llm.wire.call import Call, JsonObject, ProtocolName, RequestFacts

_MESSAGES = frozenset({"input", "messages", "system"})
_TOOLS = frozenset({"functions", "mcp_servers", "tools"})
_OF_ONE_TYPE: Final[tuple[tuple[str, type], ...]] = (
    ("model", str),
    ("stream", bool),
    ("n", int),
    ("max_tokens", int),
    ("max_completion_tokens", int),
    ("stream_options", dict),
)
"""Fields of a chat that its facts are read from: of another type, they may be unreadable."""
_CHAT_LEFT_OUT = frozenset(named("openai.chat", Verdict.NOT_KEYED))
_PLAIN_LEFT_OUT = frozenset(name.removeprefix("params.") for name in named("plain", Verdict.NOT_KEYED))
_ECHOED = frozenset({"metadata"})
_CLOSER_LOOK = frozenset(
    {
        *_TOOLS,
        *OBJECT_FIELDS,
        *named("openai.chat", Verdict.REFUSED),
        "audio",
        "id",
        "modalities",
        "prompt",
        "response_format",
        "text",
        "web_search_options",
    }
)
"""Fields that decide more than a part of the key, also where their value is a text."""
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
    """Return the canonical request of `call`, or why it is not keyed. `facts` are those of its body.

    O(size of the body): about 0.25 ms for a chat of 12 KB with 8 tools, 7 ms for a picture of 1 MB.

    Args:
        call: unchanged.
        facts: the result of the protocol's `parse` for `call.body`.
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
    if call.protocol == "plain":
        form_of_body = plain_form(call.body, Blocks(Names({}, False), digester or Digester()))
        return Keyed(request=_request(call, form_of_body), objects=frozenset())
    body = _kept(call.protocol, call.body)
    seen = survey(call.protocol, body)
    ids = name_ids(call.protocol, body, seen.texts)
    blocks = Blocks(ids, digester or Digester())
    return Keyed(
        request=_request(call, {field: _value(field, value, blocks) for field, value in body.items()}),
        objects=seen.objects | ({"call_id"} if ids.unpaired else set()),
    )


def simple_key(call: Call) -> JsonObject | None:
    """Return the `request` of `key_of` for a call of plain text, None for any other call; `key_of` then decides.

    A call of plain text is a chat, or a question to a provider without a wire, in which all messages are texts and all
    further fields are numbers, texts or switches. It is never a bypass, names no object of the provider and echoes
    nothing. O(number of messages and fields).
    """
    body = call.body
    if call.protocol == "openai.chat":
        kept = _simple_fields(body, _CHAT_LEFT_OUT, null_is_absent=True)
        messages = body.get("messages")
        if kept is None or not _are_texts(messages):
            return None
        for field, kind in _OF_ONE_TYPE:
            value = body.get(field)
            if value is not None and type(value) is not kind:
                return None
        choices = body.get("n")
        if type(choices) is int and choices < 0:
            return None
        kept["messages"] = messages
        return _request(call, kept)
    if call.protocol != "plain":
        return None
    context = body.get("context")
    params = _simple_fields(body.get("params") or {}, _PLAIN_LEFT_OUT, null_is_absent=False)
    if params is None or len(body) > 4 or type(body.get("user_message")) is not str:
        return None
    if not (context is None or type(context) is str or _are_texts(context)):
        return None
    return _request(
        call,
        {
            "system_prompt": body.get("system_prompt"),
            "user_message": body["user_message"],
            "context": context,
            "params": params,
        },
    )


def unkeyed(protocol: ProtocolName) -> frozenset[str]:
    """Return the parameters that are neither keyed nor repeated in the answer: no hit depends on them."""
    return (_PLAIN_LEFT_OUT if protocol == "plain" else frozenset(named(protocol, Verdict.NOT_KEYED))) - _ECHOED


def _are_texts(messages: Any) -> bool:
    if type(messages) is not list:
        return False
    for message in messages:
        if type(message) is not dict or len(message) != 2:
            return False
        if type(message.get("role")) is not str or type(message.get("content")) is not str:
            return False
    return True


def _simple_fields(fields: JsonObject, left_out: AbstractSet[str], *, null_is_absent: bool) -> JsonObject | None:
    """Return the fields that are keyed, less `messages`; None if one of them may need a closer look."""
    kept: JsonObject = {}
    for field, value in fields.items():
        if field in left_out:
            if field in _ECHOED and value is not None:
                return None
            continue
        if field in _CLOSER_LOOK and value is not None:
            return None
        kind = type(value)
        if kind is str or kind is bool or kind is float:
            kept[field] = value
        elif kind is int:
            kept[field] = real(value) if field in REAL_FIELDS else value
        elif value is None:
            if not null_is_absent:
                kept[field] = None
        elif field != "messages":
            return None
    return kept


def _request(call: Call, body: JsonObject) -> JsonObject:
    headers = call.headers
    return {
        "protocol": call.protocol,
        "endpoint": call.endpoint,
        "headers": {name: _header(name, value) for name, value in headers.items()} if headers else {},
        "scope": call.scope,
        "tenant": call.tenant,
        "prompt": call.prompt,
        "prompt_version": call.prompt_version,
        "body": body,
    }


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
    """Return the keyed form of a field of the body."""
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
        return real(value)
    if field in UNORDERED_FIELDS and isinstance(value, list) and all(isinstance(one, str) for one in value):
        return sorted(set(value))
    return value


def _header(name: str, value: str) -> Any:
    if name not in UNORDERED_HEADERS:
        return value
    return sorted({word.strip() for word in value.split(",")} - {""})
