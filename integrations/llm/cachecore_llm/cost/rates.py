"""The price of one answer from the rates of its model. Pure arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any

from cachecore.contract.errors import OptionsError
from cachecore_llm.wire.facts import UsageFacts

_MILLION = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """US dollars per million tokens; None: as the rate of the total that the tokens are a part of.

    Raises OptionsError.
    """

    input: float | None = None
    """None: unknown, and so is the price of whatever has input tokens."""
    output: float | None = None
    cached_input: float | None = None
    """Of the input: read from the provider's prompt cache."""
    cache_write: float | None = None
    """Of the input: written to the provider's prompt cache."""
    input_audio: float | None = None
    output_audio: float | None = None
    reasoning: float | None = None
    """Of the output."""
    per_request: float = 0.0
    """US dollars for each request."""
    above: tuple[tuple[int, Rates], ...] = field(default=())
    """Rates of requests with more input tokens than a number, for all their tokens; the numbers ascend."""

    def __post_init__(self) -> None:
        for each in fields(self):
            rate: Any = getattr(self, each.name)
            if each.name == "above" or (rate is None and each.name != "per_request"):
                continue
            if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate < math.inf:
                raise OptionsError(f"{each.name} must be US dollars, 0 or more and finite, not {rate!r}")

    def price(self, usage: UsageFacts) -> float | None:
        """Return the US dollars that `usage` costs; None if a rate is unknown that it needs. O(len(above))."""
        rates = self
        for start, further in self.above:
            if usage.input_tokens > start:
                rates = further
        cached, written, heard = usage.cached_input_tokens, usage.cache_write_tokens, usage.input_audio_tokens
        thought, spoken = usage.reasoning_tokens, usage.output_audio_tokens
        total = 0.0
        for count, rate, otherwise in (
            (max(usage.input_tokens - cached - written - heard, 0), rates.input, None),
            (cached, rates.cached_input, rates.input),
            (written, rates.cache_write, rates.input),
            (heard, rates.input_audio, rates.input),
            (max(usage.output_tokens - thought - spoken, 0), rates.output, None),
            (thought, rates.reasoning, rates.output),
            (spoken, rates.output_audio, rates.output),
        ):
            if count:
                each = otherwise if rate is None else rate
                if each is None:
                    return None
                total += count * each
        return total / _MILLION + self.per_request
