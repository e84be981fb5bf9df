"""The rates of a model: those that the application gives, else those of `genai-prices` (the extra `cost`), offline.

A price that is not known for sure is None, never 0 and never that of another provider or tier.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

from cachecore.contract.errors import OptionsError
from cachecore_llm.cost.rates import Rates
from cachecore_llm.wire.facts import UsageFacts

_USUAL_TIERS: Final = frozenset({"default", "standard", "auto", "on_demand"})
_HOUR: Final = 3600
_CATALOGUE: Final = "genai_prices"

_MAKERS: Final = frozenset(
    {"anthropic", "cohere", "deepseek", "google", "minimax", "mistral", "moonshotai", "openai", "perplexity"}
    | {"voyageai", "x-ai", "zai", "zhipuai"}
)
"""Providers of the catalogue that sell models of their own making."""

_OF_CATALOGUE: Final = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cached_input": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "input_audio": "input_audio_mtok",
    "output_audio": "output_audio_mtok",
    "reasoning": "output_reasoning_mtok",
}
"""Fields of `Rates` -> prices of the catalogue, per million tokens."""


class Priced(NamedTuple):
    """The facts that a price depends on, beside the tokens."""

    model: str | None
    """The model that the answer names."""
    provider: str = ""
    endpoint: str | None = None
    """Where the provider was asked; None for one without an address."""
    tier: str | None = None
    """The service tier that the answer names."""
    asked: str | None = None
    """The model that the call names, if it is this provider's: answers of `gpt-5` may name `gpt-5-2026-01-01`."""


class Prices:
    """Prices of models.

    Args:
        rates: rates of models by name, before those of the catalogue: `{"my-model": Rates(input=0.1, output=0.4)}`. The
            name is the one in the answer, or else the one that was asked for. A model of one's own that costs nothing
            has `Rates(input=0, output=0)`.
        providers: the name of a provider -> its name in the catalogue, where the endpoint does not tell: a gateway, or
            a provider of one's own.
        catalogue: whether `genai-prices` is asked; None: if it is installed. It is as old as its installed version, and
            read here, which takes about 0.2 s once in a process, so that no event loop waits for it later.
        clock: seconds since 1970; some prices depend on date and hour.

    Raises:
        ImportError: `catalogue` is True and `genai-prices` is not installed.
        OptionsError: a rate is no `Rates`.
    """

    def __init__(
        self,
        rates: Mapping[str, Rates] | None = None,
        *,
        providers: Mapping[str, str] | None = None,
        catalogue: bool | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        for model, given in (rates or {}).items():
            each: object = given
            if not isinstance(each, Rates):
                raise OptionsError(f"the rates of {model!r} must be Rates(input=…, output=…), not {each!r}")
        installed = importlib.util.find_spec(_CATALOGUE) is not None
        if catalogue and not installed:
            raise ImportError("prices of models come from genai-prices: pip install 'cachecore-llm[cost]'")
        self._own = dict(rates or {})
        self._providers = dict(providers or {})
        self._clock = clock
        self._looked_up = None
        if installed and catalogue is not False:
            self._looked_up = lru_cache(1024)(_catalogue_rates)
            self._looked_up(Priced("gpt-4o"), None, 0)

    def price(self, usage: UsageFacts | None, priced: Priced) -> float | None:
        """Return the US dollars of an answer, None if they are not known. O(1) for a model that was seen this hour."""
        if usage is None:
            return None
        rates = self.rates(priced)
        return None if rates is None else rates.price(usage)

    def rates(self, priced: Priced) -> Rates | None:
        """Return the rates of a model, None if they are not known."""
        if not priced.model:
            return None
        own = self._own.get(priced.model) or self._own.get(priced.asked or "")
        if own is not None or self._looked_up is None:
            return own
        name = self._providers.get(priced.provider)
        return self._looked_up(priced._replace(asked=None), name, int(self._clock() // _HOUR))


def _catalogue_rates(priced: Priced, name: str | None, hour: int) -> Rates | None:
    """Return the rates of the catalogue for the hour that begins `hour` hours after 1970, None if it has none.

    With an address, only the provider at that address counts: servers of one's own offer models by the same names.
    Without, only the maker of the model: others sell models by the same names at other prices.
    """
    from genai_prices import Usage, calc_price  # an extra

    tier = None if priced.tier is None or priced.tier.lower() in _USUAL_TIERS else priced.tier.lower()
    context = {"processing": "batch"} if tier == "batch" else {} if tier is None else {"service_tier": tier}
    address = priced.endpoint if priced.endpoint and priced.endpoint.startswith("http") else None
    where: dict[str, Any] = {"provider_id": name} if name else {"provider_api_url": address} if address else {}
    try:
        found = calc_price(
            Usage(input_tokens=1, output_tokens=1),
            str(priced.model),
            genai_request_timestamp=datetime.fromtimestamp(hour * _HOUR, UTC),
            price_context=context,
            **where,
        )
    except (LookupError, ValueError):
        return None
    if not (name or address) and found.provider.id not in _MAKERS:
        return None
    if context and not any(variant.when == context for variant in found.model.price_variants or ()):
        return None  # the tier has a price of its own, and the catalogue does not know it
    return _rates_of(found.model_price)


def _rates_of(prices: Any) -> Rates | None:
    given = {name: getattr(prices, there, None) for name, there in _OF_CATALOGUE.items()}
    if given["input"] is None and given["output"] is None:
        return None  # priced by the page, the hour or the picture
    starts = {step.start for price in given.values() for step in getattr(price, "tiers", ())}
    per_request = float(_at(getattr(prices, "requests_kcount", None), 0) or 0) / 1000

    def at(tokens: int) -> dict[str, Any]:
        return {name: _at(price, tokens) for name, price in given.items()}

    above = tuple((start, Rates(**at(start + 1))) for start in sorted(starts))
    return Rates(**at(0), per_request=per_request, above=above)


def _at(price: Any, tokens: int) -> float | None:
    """Return a price for a request of so many input tokens; None if there is none."""
    if price is None:
        return None
    for step in reversed(getattr(price, "tiers", ())):
        if tokens > step.start:
            return float(step.price)
    return float(getattr(price, "base", price))
