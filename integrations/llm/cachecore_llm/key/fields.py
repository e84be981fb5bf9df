"""The table of request parameters: which are part of the key, which are not, and which keep a request off the cache.

A parameter without a row is keyed: the worst that can happen is a miss. A name with a dot is a field of a parameter
that is an object; it stands before the row of that parameter.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final, NamedTuple

from cachecore_llm.wire.call import ProtocolName


class Verdict(Enum):
    """How a parameter is keyed."""

    KEYED = "keyed"
    NOT_KEYED = "not keyed"
    """Varies by person or call without shaping the answer, or is applied again when an answer is served."""
    BYPASS = "bypass"
    """A request that gives it has state or effects: the provider is always asked, and the answer is never stored."""
    REFUSED = "refused"
    """No field of a body. It is an argument of an SDK, which puts its content elsewhere; the request has no key."""


class Row(NamedTuple):
    """A parameter of one protocol."""

    name: str
    verdict: Verdict
    reason: str


_KEYED, _NOT, _BYPASS, _REFUSED = Verdict.KEYED, Verdict.NOT_KEYED, Verdict.BYPASS, Verdict.REFUSED

_DELIVERY: Final = "how the answer is delivered; applied again at serving"
_PERSON: Final = "names a person, not the question"
_PROMPT_CACHE: Final = "steers the provider's prompt cache: costs, never content"
_TRACING: Final = "names one call, not the question"
_TIER: Final = "the answer names it, and prices differ"
_SAMPLING: Final = "steers how tokens are drawn"
_LENGTH: Final = "bounds the answer"
_TOOLS: Final = "decides what the model may call"
_FORM: Final = "decides the form of the answer"
_PROMPT: Final = "the model reads it"
_EXTRA: Final = "decides what else the answer holds"
_HEADER: Final = "sent as a header; headers of a call are keyed"

_COMMON: Final = (
    Row("timeout", _NOT, "bounds the caller's wait"),
    Row("max_retries", _NOT, "how often the SDK tries"),
    Row("request_id", _NOT, _TRACING),
    Row("correlation_id", _NOT, _TRACING),
    Row("trace_id", _NOT, _TRACING),
    Row("span_id", _NOT, _TRACING),
    Row("idempotency_key", _NOT, _TRACING),
    Row("cache_control", _NOT, _PROMPT_CACHE),
    Row("prompt_cache_breakpoint", _NOT, _PROMPT_CACHE),
    Row("extra_headers", _REFUSED, "an argument of the SDK; give the headers of the call"),
    Row("extra_query", _REFUSED, "an argument of the SDK; make it part of the endpoint"),
    Row("extra_body", _REFUSED, "an argument of the SDK; merge it into the body"),
)
"""Parameters of all protocols."""

_OPENAI_CALLERS: Final = (
    Row("user", _NOT, _PERSON),
    Row("safety_identifier", _NOT, _PERSON),
    Row("metadata", _NOT, "labels of the caller's own; an echo is filled in per caller"),
    Row("prompt_cache_key", _NOT, _PROMPT_CACHE),
    Row("prompt_cache_retention", _NOT, _PROMPT_CACHE),
    Row("prompt_cache_options.mode", _NOT, _PROMPT_CACHE),
    Row("prompt_cache_options.ttl", _NOT, _PROMPT_CACHE),
    Row("prompt_cache_options.prewarm", _BYPASS, "fills the provider's prompt cache; there is no answer"),
    Row("prompt_cache_options.comparison_response_id", _BYPASS, "asks about the provider's prompt cache of now"),
    Row("prompt_cache_options", _KEYED, "fields without a row of their own"),
    Row("stream", _NOT, _DELIVERY),
    Row("stream_options", _NOT, _DELIVERY),
    Row("service_tier", _KEYED, _TIER),
    Row("moderation", _KEYED, "decides what is filtered"),
)

_CHAT: Final = (
    Row("messages", _KEYED, _PROMPT),
    Row("model", _KEYED, "another model answers otherwise"),
    Row("audio", _KEYED, _FORM),
    Row("modalities", _KEYED, _FORM),
    Row("response_format", _KEYED, _FORM),
    Row("verbosity", _KEYED, _LENGTH),
    Row("max_completion_tokens", _KEYED, _LENGTH),
    Row("max_tokens", _KEYED, _LENGTH),
    Row("stop", _KEYED, _LENGTH),
    Row("n", _KEYED, "the number of answers"),
    Row("temperature", _KEYED, _SAMPLING),
    Row("top_p", _KEYED, _SAMPLING),
    Row("frequency_penalty", _KEYED, _SAMPLING),
    Row("presence_penalty", _KEYED, _SAMPLING),
    Row("logit_bias", _KEYED, _SAMPLING),
    Row("seed", _KEYED, "callers that vary it want different answers"),
    Row("reasoning_effort", _KEYED, "decides how long the model thinks"),
    Row("logprobs", _KEYED, _EXTRA),
    Row("top_logprobs", _KEYED, _EXTRA),
    Row("tools", _KEYED, _TOOLS),
    Row("tool_choice", _KEYED, _TOOLS),
    Row("parallel_tool_calls", _KEYED, _TOOLS),
    Row("functions", _KEYED, _TOOLS),
    Row("function_call", _KEYED, _TOOLS),
    Row("web_search_options", _KEYED, _TOOLS),
    Row("prediction", _KEYED, "rejected tokens of it are billed and counted in usage"),
    Row("store", _KEYED, "as given: an answer made without storing has an id that the provider does not know"),
)

_RESPONSES: Final = (
    Row("input", _KEYED, _PROMPT),
    Row("instructions", _KEYED, _PROMPT),
    Row("model", _KEYED, "another model answers otherwise"),
    Row("text", _KEYED, _FORM),
    Row("reasoning", _KEYED, "decides how long the model thinks, and what it shows of that"),
    Row("max_output_tokens", _KEYED, _LENGTH),
    Row("temperature", _KEYED, _SAMPLING),
    Row("top_p", _KEYED, _SAMPLING),
    Row("top_logprobs", _KEYED, _EXTRA),
    Row("include", _KEYED, f"{_EXTRA}; its order does not count"),
    Row("image", _KEYED, "decides what the model sees of a picture"),
    Row("truncation", _KEYED, "decides what the model reads of a long input"),
    Row("context_management", _KEYED, "decides what the model reads of a long input"),
    Row("tools", _KEYED, _TOOLS),
    Row("tool_choice", _KEYED, _TOOLS),
    Row("parallel_tool_calls", _KEYED, _TOOLS),
    Row("max_tool_calls", _KEYED, _TOOLS),
    Row("multi_agent", _KEYED, "decides how many agents answer"),
    Row("access_programs", _KEYED, "decides what the model may answer"),
    Row("store", _KEYED, "absent means true: an answer made without storing has an id that the provider does not know"),
    Row("previous_response_id", _KEYED, "names a text that never changes; the credential is keyed with it"),
    Row("background", _BYPASS, "if true: the answer is fetched later"),
    Row("background_options", _KEYED, "of no effect without `background`"),
    Row("conversation", _BYPASS, "the conversation grows with each request"),
    Row("prompt", _BYPASS, "without a version: the text behind the id changes; keyed with one"),
    Row("betas", _KEYED, _HEADER),
)

_EMBEDDINGS: Final = (
    Row("input", _KEYED, _PROMPT),
    Row("model", _KEYED, "another model answers otherwise"),
    Row("dimensions", _KEYED, _FORM),
    Row("encoding_format", _KEYED, _FORM),
    Row("user", _NOT, _PERSON),
)

_MESSAGES: Final = (
    Row("messages", _KEYED, _PROMPT),
    Row("system", _KEYED, _PROMPT),
    Row("model", _KEYED, "another model answers otherwise"),
    Row("output_config", _KEYED, _FORM),
    Row("output_format", _KEYED, _FORM),
    Row("max_tokens", _KEYED, f"{_LENGTH}; a request with 0 prepares the provider's prompt cache and is never cached"),
    Row("stop_sequences", _KEYED, _LENGTH),
    Row("temperature", _KEYED, _SAMPLING),
    Row("top_p", _KEYED, _SAMPLING),
    Row("top_k", _KEYED, _SAMPLING),
    Row("thinking", _KEYED, "decides how long the model thinks, and what it shows of that"),
    Row("tools", _KEYED, _TOOLS),
    Row("tool_choice", _KEYED, _TOOLS),
    Row("mcp_servers", _KEYED, f"{_TOOLS}; cached only if each server is allowed by name"),
    Row("context_management", _KEYED, "decides what the model reads of a long input"),
    Row("compaction", _KEYED, "asks for a summary in place of an answer"),
    Row("fallbacks", _KEYED, "decides which model may answer"),
    Row("service_tier", _KEYED, _TIER),
    Row("speed", _KEYED, "prices differ"),
    Row("inference_geo", _KEYED, "decides where the answer is computed; prices differ"),
    Row("billing_policy", _KEYED, "decides which organisation pays"),
    Row("stream", _NOT, _DELIVERY),
    Row("metadata", _NOT, _PERSON),
    Row("container", _BYPASS, "files in a container change with each request"),
    Row("thread", _BYPASS, "the thread grows with each request"),
    Row("diagnostics", _BYPASS, "asks about the provider's prompt cache of now"),
    Row("fallback_credit_token", _BYPASS, "redeems a credit once"),
    Row("betas", _KEYED, f"{_HEADER}; its order does not count"),
    Row("user_profile_id", _KEYED, _HEADER),
    Row("workspace_id", _KEYED, f"{_HEADER}; it belongs to the credential's scope"),
)

_PLAIN: Final = (
    Row("system_prompt", _KEYED, _PROMPT),
    Row("user_message", _KEYED, _PROMPT),
    Row("context", _KEYED, _PROMPT),
    Row("params.timeout", _NOT, "bounds the caller's wait"),
    Row("params.max_retries", _NOT, "how often the SDK tries"),
    Row("params.stream", _NOT, _DELIVERY),
    Row("params.stream_options", _NOT, _DELIVERY),
    Row("params.request_id", _NOT, _TRACING),
    Row("params.correlation_id", _NOT, _TRACING),
    Row("params.trace_id", _NOT, _TRACING),
    Row("params.span_id", _NOT, _TRACING),
    Row("params.idempotency_key", _NOT, _TRACING),
    Row("params.prompt_cache_key", _NOT, _PROMPT_CACHE),
    Row("params.prompt_cache_options", _NOT, _PROMPT_CACHE),
    Row("params.prompt_cache_retention", _NOT, _PROMPT_CACHE),
    Row("params.extra_headers", _KEYED, "less those that concern transport and tracing"),
    Row(
        "params", _KEYED, "parameters without a row of their own, also `user`: what a provider makes of it is not known"
    ),
)

TABLE: Final[Mapping[ProtocolName, tuple[Row, ...]]] = {
    "openai.chat": (*_CHAT, *_OPENAI_CALLERS, *_COMMON),
    "openai.responses": (*_RESPONSES, *_OPENAI_CALLERS, *_COMMON),
    "openai.embeddings": (*_EMBEDDINGS, *_COMMON),
    "anthropic.messages": (*_MESSAGES, *_COMMON),
    "plain": _PLAIN,
}
"""Every parameter of each protocol, with its verdict and the reason."""

REAL_FIELDS: Final = frozenset(
    {
        *("temperature", "top_p", "min_p", "top_a", "typical_p", "tfs_z"),
        *("frequency_penalty", "presence_penalty", "repetition_penalty", "length_penalty"),
    }
)
"""Parameters that are real numbers: 0 and 0.0 are one request."""

UNORDERED_FIELDS: Final = frozenset({"anthropic_beta", "betas", "include", "modalities"})
"""Parameters that are sets of words: order and repetition mean nothing."""

UNORDERED_HEADERS: Final = frozenset({"anthropic-beta", "openai-beta"})
"""Headers that are such lists, separated by commas."""

_NAMED: Final = {
    (protocol, verdict): {row.name: row.reason for row in rows if row.verdict is verdict}
    for protocol, rows in TABLE.items()
    for verdict in Verdict
}


def named(protocol: ProtocolName, verdict: Verdict) -> Mapping[str, str]:
    """Return the parameters of `protocol` that have this verdict, with the reasons."""
    return _NAMED[protocol, verdict]


def real(value: int) -> float:
    """Return `value` as a real number if there is one that is equal to it."""
    try:
        number = float(value)
    except OverflowError:
        return value
    return number if number == value else value
