"""Calls and costs as OpenTelemetry sees them, by the names of its conventions for generative AI.

`gen_ai.client.token.usage` and `gen_ai.client.operation.duration` are of real calls alone: a hit uses no tokens, so
that sums over either are the real use. Prompts, answers, tenants and keys are never attributes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from opentelemetry import metrics, trace
from opentelemetry.metrics import Meter
from opentelemetry.trace import ProxyTracerProvider, SpanKind, Tracer

from cachecore_llm.cost.instruments import SCOPE, instruments_of
from cachecore_llm.cost.ledger import Charge, Ledger
from cachecore_llm.wire.call import ProtocolName
from cachecore_llm.wire.facts import AnswerFacts, UsageFacts

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


@lru_cache(maxsize=256)
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
    """Tells OpenTelemetry of the calls of one service, and of its ledger when metrics are collected."""

    def __init__(
        self,
        ledger: Ledger,
        meter: Meter | None = None,
        *,
        tracer: Tracer | None = None,
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        """Report `ledger` through `meter` and `tracer`; `now`: nanoseconds since 1970, for spans."""
        self._instruments = instruments_of(meter or metrics.get_meter(SCOPE))
        self._instruments.add(ledger)
        self._tracer = tracer
        self._now = now

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
                    self._instruments.tokens.record(count, {**attributes, "gen_ai.token.type": kind})
        if error is not None:
            attributes["error.type"] = type(error).__qualname__
        self._instruments.seconds.record(seconds, attributes)

    def traced(
        self,
        charge: Charge,
        seconds: float,
        answer: AnswerFacts,
        *,
        protocol: ProtocolName,
        asked_model: str | None,
    ) -> None:
        """Record a span of one real call that ends now and took `seconds`; none if the application wants no spans."""
        if self._tracer is None and isinstance(trace.get_tracer_provider(), ProxyTracerProvider):
            return
        ended = self._now()
        span = (self._tracer or trace.get_tracer(SCOPE)).start_span(
            " ".join(filter(None, (operation_of(protocol), asked_model))),
            kind=SpanKind.CLIENT,
            start_time=ended - int(seconds * 1e9),
            attributes=span_attributes(charge, answer, protocol=protocol, asked_model=asked_model, status="miss"),
        )
        span.end(ended)
