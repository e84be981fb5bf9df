"""What OpenTelemetry is told of calls and costs, by the names of its conventions for generative AI.

`gen_ai.client.token.usage` and `gen_ai.client.operation.duration` are of real calls alone: a hit uses no tokens, so
that sums over either are what was paid for. Prompts, answers, tenants and keys are never attributes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final
from urllib.parse import urlsplit

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Meter, Observation

from cachecore_llm.cost.ledger import Charge, Ledger, Row
from cachecore_llm.wire.call import ProtocolName
from cachecore_llm.wire.facts import AnswerFacts, UsageFacts

SCOPE: Final = "cachecore.llm"
TOKEN_BUCKETS: Final = tuple(4**power for power in range(14))
SECOND_BUCKETS: Final = tuple(0.01 * 2**power for power in range(14))

Attributes = dict[str, str | int | float | bool | tuple[str, ...]]

_OPERATIONS: Final[Mapping[ProtocolName, str]] = {"openai.embeddings": "embeddings"}
_HOSTS: Final = (
    ("openai.azure.com", "azure.ai.openai"),
    ("cognitiveservices.azure.com", "azure.ai.openai"),
    ("services.ai.azure.com", "azure.ai.inference"),
    ("models.ai.azure.com", "azure.ai.inference"),
    ("api.openai.com", "openai"),
    ("api.anthropic.com", "anthropic"),
    ("generativelanguage.googleapis.com", "gcp.gemini"),
    ("aiplatform.googleapis.com", "gcp.vertex_ai"),
    ("api.cohere.com", "cohere"),
    ("api.deepseek.com", "deepseek"),
    ("api.groq.com", "groq"),
    ("api.mistral.ai", "mistral_ai"),
    ("api.perplexity.ai", "perplexity"),
    ("api.x.ai", "x_ai"),
    ("ml.cloud.ibm.com", "ibm.watsonx.ai"),
    ("amazonaws.com", "aws.bedrock"),
)
"""The end of a host -> the name of its provider in the conventions."""


def operation_of(protocol: ProtocolName) -> str:
    """Return `gen_ai.operation.name` of a call."""
    return _OPERATIONS.get(protocol, "chat")


def provider_of(name: str, endpoint: str | None) -> str:
    """Return `gen_ai.provider.name`: the well-known one at `endpoint`, else the provider's own `name`."""
    host = "" if not endpoint else urlsplit(endpoint).hostname or ""
    for end, known in _HOSTS:
        if host == end or host.endswith("." + end):
            return known
    return name


def span_attributes(
    charge: Charge,
    answer: AnswerFacts,
    *,
    protocol: ProtocolName,
    asked_model: str | None,
    status: str,
) -> Attributes:
    """Return the attributes of the span of one call.

    `gen_ai.usage.*` is there only for a real call (`status` is `miss` or `bypass`); what an answer from the cache, or
    of another caller's call, would have used is under `cachecore.llm.saved.*`, so that no sum counts tokens twice.
    """
    priced, usage = charge.priced, charge.usage
    told: dict[str, str | int | float | bool | tuple[str, ...] | None] = {
        "gen_ai.operation.name": operation_of(protocol),
        "gen_ai.provider.name": provider_of(priced.provider, priced.endpoint),
        "gen_ai.request.model": asked_model,
        "gen_ai.response.model": answer.model,
        "gen_ai.response.id": answer.id,
        "gen_ai.response.finish_reasons": tuple(choice.raw_finish or choice.finish for choice in answer.choices)
        or None,
        "gen_ai.prompt.name": charge.prompt,
        "cachecore.llm.status": status,
    }
    if usage is not None:
        told |= _usage("gen_ai.usage" if status in ("miss", "bypass") else "cachecore.llm.saved", usage)
    return {name: value for name, value in told.items() if value is not None}


def _usage(prefix: str, usage: UsageFacts) -> Mapping[str, int | None]:
    return {
        f"{prefix}.input_tokens": usage.input_tokens,
        f"{prefix}.output_tokens": usage.output_tokens,
        f"{prefix}.cache_read.input_tokens": usage.cached_input_tokens or None,
        f"{prefix}.cache_creation.input_tokens": usage.cache_write_tokens or None,
        f"{prefix}.reasoning.output_tokens": usage.reasoning_tokens or None,
    }


class CostTelemetry:
    """The instruments of one service: histograms of its calls, and counters that read its ledger when collected."""

    def __init__(self, ledger: Ledger, meter: Meter | None = None) -> None:
        meter = meter or metrics.get_meter(SCOPE)
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            "{token}",
            "Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=TOKEN_BUCKETS,
        )
        self._seconds = meter.create_histogram(
            "gen_ai.client.operation.duration",
            "s",
            "GenAI operation duration.",
            explicit_bucket_boundaries_advisory=SECOND_BUCKETS,
        )
        self._ledger = ledger
        for name, unit, text, read in (
            ("cost", "{USD}", "Dollars spent at providers and saved by the cache, where prices are known.", _dollars),
            ("answers", "{answer}", "Answers spent at providers and saved by the cache.", _calls),
            ("unpriced", "{answer}", "Answers whose price is unknown, and so missing from the cost.", _unpriced),
        ):
            meter.create_observable_counter(f"{SCOPE}.{name}", [_callback(ledger, read)], unit, text)

    def called(
        self,
        charge: Charge,
        seconds: float,
        *,
        protocol: ProtocolName,
        asked_model: str | None,
        error: BaseException | None = None,
    ) -> None:
        """Record one real call: its seconds, and the tokens that the provider counted."""
        priced = charge.priced
        attributes = {
            "gen_ai.operation.name": operation_of(protocol),
            "gen_ai.provider.name": provider_of(priced.provider, priced.endpoint),
        }
        if asked_model:
            attributes["gen_ai.request.model"] = asked_model
        if priced.model:
            attributes["gen_ai.response.model"] = priced.model
        if charge.usage is not None:
            usage = charge.usage
            for kind, count in (("input", usage.input_tokens), ("output", usage.output_tokens)):
                if count:
                    self._tokens.record(count, {**attributes, "gen_ai.token.type": kind})
        if error is not None:
            attributes["error.type"] = type(error).__qualname__
        self._seconds.record(seconds, attributes)


def _callback(
    ledger: Ledger, read: Callable[[Row], tuple[float, float]]
) -> Callable[[CallbackOptions], Iterable[Observation]]:
    def observe(_: CallbackOptions) -> Iterable[Observation]:
        for model, row in ledger.by("model").items():
            for kind, value in zip(("spent", "saved"), read(row), strict=True):
                yield Observation(value, {"kind": kind, "gen_ai.response.model": model or "unknown"})

    return observe


def _dollars(row: Row) -> tuple[float, float]:
    return row.spent.dollars, row.saved.dollars


def _calls(row: Row) -> tuple[float, float]:
    return row.spent.calls, row.saved.calls


def _unpriced(row: Row) -> tuple[float, float]:
    return row.spent.unpriced, row.saved.unpriced
