"""A request to an LLM, and which part of it is its key: everything, less what only concerns the transport.

An allow-list of the fields that shape an answer rots: the next parameter of the next model is missing from it, and two
different requests share an answer. So a field that nobody has heard of is part of the key, and what is left out is
listed here, once, by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cachecore.contract.errors import OptionsError

TRANSPORT_FIELDS: Final = frozenset(
    {
        "stream",
        "stream_options",
        "timeout",
        "max_retries",
        "extra_headers",
        "request_id",
        "correlation_id",
        "trace_id",
        "span_id",
        "idempotency_key",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
    }
)
"""Parameters that say how a request travels, not what is asked. They reach the provider and are no part of the key."""

FLOAT_FIELDS: Final = frozenset(
    {
        "temperature",
        "top_p",
        "min_p",
        "top_a",
        "typical_p",
        "tfs_z",
        "frequency_penalty",
        "presence_penalty",
        "repetition_penalty",
        "length_penalty",
    }
)
"""Parameters that are real numbers, so that `temperature=0` and `temperature=0.0` are one request."""

_ARGUMENTS: Final = frozenset({"self", "system_prompt", "user_message", "context", "tenant", "label"})
_JSON_FORMATS: Final = frozenset({"json", "json_object", "json_schema"})


@dataclass(frozen=True, slots=True)
class LLMRequest:
    """Everything an answer depends on, plus how it travels.

    `context` is any value that can be keyed: text, a list of earlier messages, retrieved documents. `params` are all
    further parameters. `tenant` and `label` choose the namespace, which is part of the key.
    """

    system_prompt: str
    user_message: str
    context: Any = None
    params: Mapping[str, Any] = field(default_factory=dict)
    tenant: str | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.system_prompt, str):
            raise OptionsError(f"system_prompt must be text, not {type(self.system_prompt).__name__}")
        if not isinstance(self.user_message, str):
            raise OptionsError(f"user_message must be text, not {type(self.user_message).__name__}")
        if not _ARGUMENTS.isdisjoint(self.params):
            clash = sorted(_ARGUMENTS & self.params.keys())
            raise OptionsError(f"a parameter cannot be called {clash[0]!r}: that is an argument of its own")

    def key_fields(self, ignore: frozenset[str] = TRANSPORT_FIELDS) -> dict[str, Any]:
        """Return what is keyed: parameters in a map of their own, so that none can pass for another field."""
        return {**self.partition_fields(ignore), "user_message": self.user_message}

    def partition_fields(self, ignore: frozenset[str] = TRANSPORT_FIELDS) -> dict[str, Any]:
        """Return `key_fields` without the user message: what two questions must share to be compared at all."""
        params = {
            name: _real(value) if name in FLOAT_FIELDS and type(value) is int else value
            for name, value in self.params.items()
            if name not in ignore
        }
        return {"system_prompt": self.system_prompt, "context": self.context, "tenant": self.tenant, "params": params}

    @property
    def wants_json(self) -> bool:
        """Whether a parameter asks for an answer that is JSON, in any of the ways that are in use."""
        params = self.params
        text = params.get("text")
        forms = [params.get("response_format"), params.get("format")]
        forms.append(text.get("format") if isinstance(text, Mapping) else None)
        if any(_is_json(form) for form in forms) or params.get("json_mode") is True:
            return True
        mime_type = params.get("response_mime_type")
        return isinstance(mime_type, str) and mime_type.partition(";")[0].strip() == "application/json"

    @property
    def max_tokens(self) -> int | None:
        """Return the bound on the answer's length that the request names, if any."""
        for name in ("max_completion_tokens", "max_tokens", "max_output_tokens"):
            value = self.params.get(name)
            if isinstance(value, int) and not isinstance(value, bool):
                return value
        return None


def _real(value: int) -> float:
    """Return `value` as a real number if there is one that is equal to it."""
    try:
        real = float(value)
    except OverflowError:
        return value
    return real if real == value else value


def _is_json(form: object) -> bool:
    kind = form.get("type") if isinstance(form, Mapping) else form
    return isinstance(kind, str) and kind in _JSON_FORMATS
