"""A request to an LLM in the words of an application: a system prompt, a question, what else is sent."""

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

_ARGUMENTS: Final = frozenset({"self", "system_prompt", "user_message", "context", "tenant", "label"})


@dataclass(frozen=True, slots=True)
class LLMRequest:
    """Everything an answer depends on, plus how it travels.

    `context` is any value that can be keyed: text, a list of earlier messages, retrieved documents. `params` are all
    further parameters. `tenant` and `label` choose the namespace, which is part of the key.
    """

    system_prompt: str
    user_message: Any
    """Text, or a list of content parts: texts and media."""
    context: Any = None
    params: Mapping[str, Any] = field(default_factory=dict)
    tenant: str | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.system_prompt, str):
            raise OptionsError(f"system_prompt must be text, not {type(self.system_prompt).__name__}")
        if not isinstance(self.user_message, str | list):
            kind = type(self.user_message).__name__
            raise OptionsError(f"user_message must be text, or a list of content parts, not {kind}")
        if not _ARGUMENTS.isdisjoint(self.params):
            clash = sorted(_ARGUMENTS & self.params.keys())
            raise OptionsError(f"a parameter cannot be called {clash[0]!r}: that is an argument of its own")
