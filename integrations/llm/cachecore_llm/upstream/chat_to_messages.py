"""Chat requests as Anthropic messages. What has no equal there is an error that names the field, never left out.

Left out is only what shapes no answer: labels, storing, the provider's prompt cache, predictions, delivery.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from cachecore_llm.upstream.chat_turns import turns_of, unsupported
from cachecore_llm.upstream.parameters import TRANSPORT
from cachecore_llm.wire import JsonObject

_WITHOUT_EFFECT: Final = frozenset(
    {
        *("metadata", "store", "prediction", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"),
        *("stream", "stream_options"),
    }
)
_SAME: Final = TRANSPORT | {"model", "top_p"}

_NEUTRAL: Final[Mapping[str, tuple[Any, ...]]] = {
    "n": (1,),
    "frequency_penalty": (0, 0.0),
    "presence_penalty": (0, 0.0),
    "logit_bias": ({},),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "modalities": (["text"],),
    "verbosity": ("medium",),
}
"""Values that ask for nothing that Anthropic would not do by itself."""

_EFFORTS: Final = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh"}
_TIERS: Final = {"auto": "auto", "default": "standard_only"}


def messages_body(body: JsonObject, *, max_tokens: int, dropped: Collection[str] = ()) -> JsonObject:
    """Return the body of a chat request as one of messages.

    Args:
        body: unchanged.
        max_tokens: the bound on the answer where the request names none; Anthropic wants one.
        dropped: fields that are left out although they would have an effect.

    Raises:
        UnsupportedRequestError: a field has no equal; the text names it.
    """
    given = {name: value for name, value in body.items() if value is not None and name not in dropped}
    system, turns = turns_of(given.pop("messages", []))
    made: JsonObject = {"max_tokens": max_tokens, "messages": turns}
    if system:
        made["system"] = system
    for name, value in given.items():
        if name in _SAME:
            made[name] = value
        elif name in _FIELDS:
            _FIELDS[name](made, value)
        elif name not in _WITHOUT_EFFECT and value not in _NEUTRAL.get(name, ()):
            raise unsupported(name)
    if given.get("parallel_tool_calls") is False and given.get("tools"):
        made["tool_choice"] = {**made.get("tool_choice", {"type": "auto"}), "disable_parallel_tool_use": True}
    return made


def _max_tokens(made: JsonObject, value: Any) -> None:
    made["max_tokens"] = value


def _temperature(made: JsonObject, value: Any) -> None:
    if not isinstance(value, int | float) or not 0 <= value <= 1:
        raise unsupported("temperature over 1")
    made["temperature"] = value


def _stop(made: JsonObject, value: Any) -> None:
    made["stop_sequences"] = [value] if isinstance(value, str) else value


def _user(made: JsonObject, value: Any) -> None:
    made["metadata"] = {"user_id": value}


def _tier(made: JsonObject, value: Any) -> None:
    if value not in _TIERS:
        raise unsupported(f"service_tier={value!r}")
    made["service_tier"] = _TIERS[value]


def _effort(made: JsonObject, value: Any) -> None:
    if value == "none":
        made["thinking"] = {"type": "disabled"}
    elif value in _EFFORTS:
        made["output_config"] = {**made.get("output_config", {}), "effort": _EFFORTS[value]}
    else:
        raise unsupported(f"reasoning_effort={value!r}")


def _format(made: JsonObject, value: Any) -> None:
    kind = value.get("type") if isinstance(value, dict) else None
    if kind == "text":
        return
    schema = (value.get("json_schema") or {}).get("schema") if kind == "json_schema" else None
    if not isinstance(schema, dict):
        raise unsupported(f"response_format of type {kind!r}")
    made["output_config"] = {
        **made.get("output_config", {}),
        "format": {"type": "json_schema", "schema": schema},
    }


def _tools(made: JsonObject, value: Any) -> None:
    tools = []
    for place, tool in enumerate(value):
        function = tool.get("function")
        if tool.get("type", "function") != "function" or not isinstance(function, dict):
            raise unsupported(f"tools[{place}] of type {tool.get('type')!r}")
        if unknown := sorted(set(function) - {"name", "description", "parameters", "strict"}):
            raise unsupported(f"tools[{place}].function.{unknown[0]}")
        one = {
            "name": function.get("name"),
            "input_schema": function.get("parameters") or {"type": "object", "properties": {}},
        }
        if function.get("description") is not None:
            one["description"] = function["description"]
        if function.get("strict"):
            one["strict"] = True
        tools.append(one)
    if tools:
        made["tools"] = tools


def _tool_choice(made: JsonObject, value: Any) -> None:
    words = {"auto": "auto", "none": "none", "required": "any"}
    if isinstance(value, str) and value in words:
        made["tool_choice"] = {"type": words[value]}
    elif isinstance(value, dict) and value.get("type") == "function":
        made["tool_choice"] = {"type": "tool", "name": value["function"]["name"]}
    else:
        raise unsupported(f"tool_choice={json.dumps(value)[:80]}")


def _as_given(made: JsonObject, value: Any) -> None:
    """Do nothing: the field is read together with another."""


_FIELDS: Final[Mapping[str, Callable[[JsonObject, Any], None]]] = {
    "max_tokens": _max_tokens,
    "max_completion_tokens": _max_tokens,
    "temperature": _temperature,
    "stop": _stop,
    "user": _user,
    "safety_identifier": _user,
    "service_tier": _tier,
    "reasoning_effort": _effort,
    "response_format": _format,
    "tools": _tools,
    "tool_choice": _tool_choice,
    "parallel_tool_calls": _as_given,
}
