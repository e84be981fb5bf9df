"""Prices: those of the catalogue to the cent, and unknown rather than wrong."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from genai_prices import Usage, calc_price
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import PriceCalculation
from hypothesis import given, settings
from hypothesis import strategies as st

from cachecore import OptionsError
from cachecore_llm.cost.prices import Priced, Prices
from cachecore_llm.cost.rates import Rates
from cachecore_llm.wire.facts import UsageFacts

NOW = datetime(2026, 11, 30, 6, tzinfo=UTC)
PRICES = Prices(clock=NOW.timestamp)
OPENAI = "https://api.openai.com/v1/chat/completions"
ANTHROPIC = "https://api.anthropic.com/v1/messages#max_tokens=4096"
USED = UsageFacts(input_tokens=1000, output_tokens=100)

tokens = st.integers(0, 10_000) | st.integers(0, 2_000_000)
models = st.sampled_from(
    [(provider.id, model.id) for provider in get_snapshot().providers for model in provider.models]
)


def _calculated(usage: UsageFacts, provider: str, model: str) -> PriceCalculation:
    return calc_price(
        Usage(
            input_tokens=usage.input_tokens,
            cache_read_tokens=usage.cached_input_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            output_tokens=usage.output_tokens,
            output_reasoning_tokens=usage.reasoning_tokens,
        ),
        model,
        provider_id=provider,
        genai_request_timestamp=NOW,
    )


@settings(max_examples=400, deadline=None)
@given(models, tokens, st.floats(0, 1), st.floats(0, 1), tokens, st.floats(0, 1))
def test_prices_are_those_of_the_catalogue(
    model: tuple[str, str], total: int, read: float, written: float, output: int, thought: float
) -> None:
    """Also where a price depends on the length of the input, and where cached tokens have no price of their own."""
    provider, name = model
    cached = int(total * read)
    write = int((total - cached) * written)
    usage = UsageFacts(
        input_tokens=total,
        cached_input_tokens=cached,
        cache_write_tokens=write,
        output_tokens=output,
        reasoning_tokens=int(output * thought),
    )
    ours = Prices(providers={"p": provider}, clock=NOW.timestamp).price(usage, Priced(name, "p"))
    try:
        theirs = _calculated(usage, provider, name)
    except LookupError:  # some models are not found by the name that they stand under
        assert ours is None
        return
    if ours is None:
        known = {"input_mtok", "output_mtok"} & {
            key for key, price in vars(theirs.model_price).items() if price is not None
        }
        assert len(known) < 2, "a price that the catalogue knows"
    else:
        assert ours == pytest.approx(float(theirs.total_price), rel=1e-9, abs=1e-12)


def test_price_by_address() -> None:
    assert PRICES.price(USED, Priced("gpt-4o", "p", OPENAI)) == pytest.approx(0.0035)
    assert PRICES.price(USED, Priced("claude-sonnet-4-5", "p", ANTHROPIC)) == pytest.approx(0.0045)
    assert PRICES.price(USED, Priced("gpt-4o", "p", "https://mine.openai.azure.com/openai/deployments/x")) is not None


@pytest.mark.parametrize(
    "priced",
    [
        Priced(None, "openai", OPENAI),
        Priced("a-model-of-next-year", "openai", OPENAI),
        Priced("gpt-4o", "openai", "http://127.0.0.1:8000/v1"),
        Priced("llama-3.3-70b-instruct", "ollama", "http://localhost:11434/v1"),
        Priced("llama-3.3-70b-instruct", "ollama"),
        Priced("gpt-4o", "openai", OPENAI, tier="scale"),
        Priced("gpt-4o", "openai", OPENAI, tier="a tier of next year"),
        Priced("claude-sonnet-4-5", "anthropic", ANTHROPIC, tier="priority"),
    ],
)
def test_what_is_not_known_for_sure_is_unknown(priced: Priced) -> None:
    """Never 0, and never the price of another provider or tier."""
    assert PRICES.price(USED, priced) is None


def test_usage_that_is_not_told_has_no_price() -> None:
    assert PRICES.price(None, Priced("gpt-4o", "p", OPENAI)) is None


def test_provider_without_address() -> None:
    """A provider of one's own has none; the maker's price is the likely one."""
    assert PRICES.price(USED, Priced("gpt-4o", "mine")) == pytest.approx(0.0035)
    assert PRICES.price(USED, Priced("gpt-4o", "mine", "plain:mine:abc")) == pytest.approx(0.0035)


def test_tiers() -> None:
    usual = 0.00225
    assert PRICES.price(USED, Priced("gpt-5", "p", OPENAI)) == pytest.approx(usual)
    for tier, part in {"default": 1, "standard": 1, "flex": 0.5, "priority": 2, "batch": 0.5}.items():
        assert PRICES.price(USED, Priced("gpt-5", "p", OPENAI, tier)) == pytest.approx(usual * part)


def test_own_rates_come_first() -> None:
    own = Prices(
        {"gpt-4o": Rates(input=1, output=2), "mine": Rates(input=0, output=0)}, providers={"gateway": "openai"}
    )
    assert own.price(USED, Priced("gpt-4o", "p", "http://127.0.0.1/v1")) == pytest.approx(0.0012)
    assert own.price(USED, Priced("mine", "p", "http://127.0.0.1/v1")) == 0
    assert own.price(USED, Priced("gpt-4o-2026-01-01", "p", "http://127.0.0.1/v1", asked="gpt-4o")) == pytest.approx(
        0.0012
    )
    assert own.price(USED, Priced("another", "p", "http://127.0.0.1/v1", asked="unheard-of")) is None
    assert own.price(USED, Priced("gpt-5", "gateway", "http://10.0.0.1/v1")) == pytest.approx(0.00225)
    assert own.price(USED, Priced("gpt-5", "other", "http://10.0.0.1/v1")) is None
    alone = Prices({"mine": Rates(input=1, output=1)}, catalogue=False)
    assert alone.price(USED, Priced("gpt-4o", "p", OPENAI)) is None


def test_rates() -> None:
    rates = Rates(input=3, cached_input=0.3, cache_write=3.75, output=15, input_audio=100, per_request=0.01)
    usage = UsageFacts(
        input_tokens=1_000_000,
        cached_input_tokens=400_000,
        cache_write_tokens=200_000,
        input_audio_tokens=100_000,
        output_tokens=100_000,
        reasoning_tokens=50_000,
    )
    assert rates.price(usage) == pytest.approx(0.9 + 0.12 + 0.75 + 10 + 1.5 + 0.01)
    assert Rates(input=3).price(usage) is None, "the output costs something"
    assert Rates(input=3).price(UsageFacts(input_tokens=1)) == pytest.approx(3e-6)
    assert Rates().price(UsageFacts()) == 0


@pytest.mark.parametrize(
    "rates", [{"input": -1}, {"output": "3"}, {"cached_input": float("nan")}, {"per_request": None}]
)
def test_wrong_rates(rates: dict[str, Any]) -> None:
    with pytest.raises(OptionsError, match="must be US dollars, 0 or more and finite"):
        Rates(**rates)


def test_rates_of_another_type() -> None:
    with pytest.raises(OptionsError, match=r"the rates of 'm' must be Rates\(input=…, output=…\), not 3"):
        Prices({"m": 3})  # type: ignore[dict-item]  # what must fail


def test_without_the_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    """Own rates work; the extra is named only to those who ask for its prices."""
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    for name in [name for name in sys.modules if name.partition(".")[0] == "genai_prices"]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ImportError, match=r"pip install 'cachecore-llm\[cost\]'"):
        Prices(catalogue=True)
    prices = Prices({"mine": Rates(input=1, output=1)})
    assert prices.price(USED, Priced("gpt-4o", "p", OPENAI)) is None
    assert prices.price(USED, Priced("mine", "p")) == pytest.approx(0.0011)
