"""What is counted as spent and as saved, and what OpenTelemetry is told of it."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from cachecore_llm.cost.ledger import OTHERS, Charge, Key, Ledger, Totals
from cachecore_llm.cost.prices import Priced, Prices
from cachecore_llm.cost.rates import Rates
from cachecore_llm.cost.telemetry import CostTelemetry, operation_of, provider_of, span_attributes
from cachecore_llm.wire import OPENAI_CHAT
from cachecore_llm.wire.facts import UsageFacts

USED = UsageFacts(input_tokens=1000, cached_input_tokens=200, output_tokens=100, reasoning_tokens=40)
PRICES = Prices({"m": Rates(input=1, output=10)}, catalogue=False)


def charge(model: str | None = "m", usage: UsageFacts | None = USED, **whose: Any) -> Charge:
    return Charge(Priced(model, "mine", "https://api.openai.com/v1"), usage, **whose)


def test_spent_once_and_saved_by_each_hit() -> None:
    ledger = Ledger(PRICES)
    assert ledger.spent(charge(tenant="acme", prompt="faq")) == pytest.approx(0.002)
    for _ in range(3):
        ledger.saved(charge(tenant="acme", prompt="faq"))
    row = ledger.rows()[Key("m", "acme", "faq")]
    dollars, saved = row.spent.dollars, row.saved.dollars
    assert row.spent == Totals(1, 1000, 200, 100, 40, dollars)
    assert row.saved == Totals(3, 3000, 600, 300, 120, saved)
    assert dollars == pytest.approx(0.002)
    assert saved == pytest.approx(0.006)


def test_unknown_prices_are_counted_as_unknown() -> None:
    ledger = Ledger(PRICES)
    assert ledger.spent(charge("another")) is None
    assert ledger.spent(charge(usage=None)) is None
    spent = ledger.total().spent
    assert (spent.calls, spent.unpriced, spent.uncounted, spent.dollars) == (2, 2, 1, 0)
    assert ledger.by("model")["another"].spent.unpriced == 1


def test_sums_by_model_tenant_and_prompt() -> None:
    ledger = Ledger(PRICES)
    ledger.spent(charge(tenant="a", prompt="faq"))
    ledger.spent(charge(tenant="b", prompt="faq"))
    ledger.saved(charge(tenant="b"))
    assert {tenant: row.spent.calls for tenant, row in ledger.by("tenant").items()} == {"a": 1, "b": 1}
    assert {prompt: (row.spent.calls, row.saved.calls) for prompt, row in ledger.by("prompt").items()} == {
        "faq": (2, 0),
        None: (0, 1),
    }
    assert ledger.by("model")["m"].spent.calls == 2
    assert len(list(ledger)) == 3


def test_what_is_read_does_not_change() -> None:
    ledger = Ledger(PRICES)
    ledger.spent(charge())
    before, rows = ledger.total(), ledger.rows()
    ledger.spent(charge())
    assert before.spent.calls == rows[Key("m", None, None)].spent.calls == 1


def test_rows_are_bounded_and_nothing_is_lost() -> None:
    ledger = Ledger(PRICES, max_rows=10)
    for number in range(100):
        ledger.spent(charge(tenant=str(number)))
    assert len(ledger.rows()) == 11
    assert ledger.by("tenant")[OTHERS].spent.calls == 90
    assert ledger.total().spent.calls == 100


def test_threads_count_together() -> None:
    ledger = Ledger(PRICES)
    threads = [threading.Thread(target=lambda: [ledger.saved(charge()) for _ in range(2000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.total().saved.calls == 8000


def collected(reader: InMemoryMetricReader) -> dict[str, list[Any]]:
    data = reader.get_metrics_data()
    assert data is not None
    return {
        metric.name: list(metric.data.data_points)
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def test_metrics_have_the_names_of_the_conventions() -> None:
    semconv = pytest.importorskip("opentelemetry.semconv._incubating.metrics.gen_ai_metrics")
    reader, ledger = InMemoryMetricReader(), Ledger(PRICES)
    telemetry = CostTelemetry(ledger, MeterProvider([reader]).get_meter("test"))
    telemetry.called(charge(), 1.5, protocol="openai.chat", asked_model="m-latest")
    telemetry.called(charge(usage=None), 0.5, protocol="openai.chat", asked_model="m", error=TimeoutError())
    ledger.spent(charge())
    ledger.saved(charge())
    ledger.saved(charge("another"))
    found = collected(reader)

    tokens = {point.attributes["gen_ai.token.type"]: point for point in found[semconv.GEN_AI_CLIENT_TOKEN_USAGE]}
    assert (tokens["input"].sum, tokens["output"].sum) == (1000, 100)
    assert tokens["input"].attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "m-latest",
        "gen_ai.response.model": "m",
        "gen_ai.token.type": "input",
    }
    seconds = found[semconv.GEN_AI_CLIENT_OPERATION_DURATION]
    assert {point.attributes.get("error.type"): point.sum for point in seconds} == {None: 1.5, "TimeoutError": 0.5}

    def of(name: str) -> dict[tuple[Any, Any], Any]:
        points = found[f"cachecore.llm.{name}"]
        return {(p.attributes["kind"], p.attributes["gen_ai.response.model"]): p.value for p in points}

    assert of("answers") == {("spent", "m"): 1, ("saved", "m"): 1, ("spent", "another"): 0, ("saved", "another"): 1}
    assert of("cost")["saved", "m"] == pytest.approx(0.002)
    assert of("unpriced")["saved", "another"] == 1


def test_span_of_a_real_call_and_of_a_hit() -> None:
    """A sum over `gen_ai.usage.*` of all spans is what was paid for."""
    body = {
        "id": "chatcmpl-1",
        "model": "m",
        "choices": [{"index": 0, "message": {"content": "Paris."}, "finish_reason": "stop"}],
    }
    facts = OPENAI_CHAT.facts(body)
    real = span_attributes(charge(prompt="faq"), facts, protocol="openai.chat", asked_model="m-latest", status="miss")
    assert real == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "m-latest",
        "gen_ai.response.model": "m",
        "gen_ai.response.id": "chatcmpl-1",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.prompt.name": "faq",
        "gen_ai.usage.input_tokens": 1000,
        "gen_ai.usage.output_tokens": 100,
        "gen_ai.usage.cache_read.input_tokens": 200,
        "gen_ai.usage.reasoning.output_tokens": 40,
        "cachecore.llm.status": "miss",
    }
    for status in ("hit", "joined", "stale", "similar"):
        hit = span_attributes(charge(tenant="acme"), facts, protocol="openai.chat", asked_model="m", status=status)
        assert not [name for name in hit if name.startswith("gen_ai.usage")]
        assert hit["cachecore.llm.saved.input_tokens"] == 1000
        assert "acme" not in hit.values()
    assert "Paris." not in str(real)


def test_names_of_attributes_are_those_of_the_conventions() -> None:
    semconv = pytest.importorskip("opentelemetry.semconv._incubating.attributes.gen_ai_attributes")
    known = {value for name, value in vars(semconv).items() if name.startswith("GEN_AI_")}
    usage = UsageFacts(input_tokens=5, cached_input_tokens=1, cache_write_tokens=1, output_tokens=2, reasoning_tokens=1)
    facts = OPENAI_CHAT.facts({"id": "1", "model": "m", "choices": [{"message": {"content": "a"}}]})
    told = span_attributes(
        charge(usage=usage, prompt="faq"), facts, protocol="openai.chat", asked_model="m", status="miss"
    )
    assert {name for name in told if name.startswith("gen_ai.")} <= known


@pytest.mark.parametrize(
    ("endpoint", "name"),
    [
        ("https://api.openai.com/v1", "openai"),
        ("https://mine.openai.azure.com/openai", "azure.ai.openai"),
        ("https://api.anthropic.com/v1/messages", "anthropic"),
        ("https://notapi.openai.com.evil.example/v1", "mine"),
        ("http://localhost:11434/v1", "mine"),
        ("plain:mine:abc", "mine"),
        (None, "mine"),
    ],
)
def test_provider_names(endpoint: str | None, name: str) -> None:
    assert provider_of("mine", endpoint) == name


def test_operations() -> None:
    assert operation_of("openai.embeddings") == "embeddings"
    assert operation_of("anthropic.messages") == "chat"
