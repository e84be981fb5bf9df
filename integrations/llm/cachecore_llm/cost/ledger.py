"""What was spent at providers and what the cache saved, in calls, tokens and dollars, per model, tenant and prompt.

A computation is spent once, whoever waited for it: answers, refused ones, aborted streams, refreshes behind a stale
answer. Each hit and each caller that joined saves what the stored answer has cost. Unknown prices are counted as
unknown, never as 0.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from cachecore_llm.cost.prices import Priced, Prices
from cachecore_llm.wire.facts import UsageFacts

MAX_ROWS: Final = 10_000
OTHERS: Final = "(others)"
"""The tenant and the prompt of all that came when MAX_ROWS were in use."""

By = Literal["model", "tenant", "prompt"]


class Charge(NamedTuple):
    """One answer: what it took, and for whom."""

    priced: Priced
    usage: UsageFacts | None
    """None if the provider did not say, as with a stream that was aborted."""
    tenant: str | None = None
    prompt: str | None = None
    """The name of the prompt, not its text."""


class Key(NamedTuple):
    """The row of a charge."""

    model: str
    tenant: str | None
    prompt: str | None


@dataclass(slots=True)
class Totals:
    """Sums over calls."""

    calls: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    dollars: float = 0.0
    """Of the calls whose price is known."""
    unpriced: int = 0
    """Calls whose price is unknown, so that `dollars` says less than it was."""
    uncounted: int = 0
    """Of these: calls whose tokens are unknown as well."""

    def add(self, usage: UsageFacts | None, dollars: float | None) -> None:
        """Add one call."""
        self.calls += 1
        if usage is None:
            self.uncounted += 1
        else:
            self.input_tokens += usage.input_tokens
            self.cached_input_tokens += usage.cached_input_tokens
            self.output_tokens += usage.output_tokens
            self.reasoning_tokens += usage.reasoning_tokens
        if dollars is None:
            self.unpriced += 1
        else:
            self.dollars += dollars

    def plus(self, other: Totals) -> Totals:
        """Return the sums of both."""
        return Totals(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))


@dataclass(slots=True)
class Row:
    """What was spent and saved in one row, or in several together."""

    spent: Totals
    saved: Totals

    def plus(self, other: Row) -> Row:
        """Return the sums of both."""
        return Row(self.spent.plus(other.spent), self.saved.plus(other.saved))


class Ledger:
    """Counts what is spent and saved. Any thread may call at any time.

    Args:
        prices: where prices come from; None: from the catalogue, if it is installed.
        max_rows: rows that are kept; what goes beyond is counted per model, under tenant and prompt `(others)`.
    """

    def __init__(self, prices: Prices | None = None, *, max_rows: int = MAX_ROWS) -> None:
        self.prices = prices or Prices()
        self._max_rows = max_rows
        self._rows: dict[Key, Row] = {}
        self._lock = threading.Lock()

    def spent(self, charge: Charge) -> float | None:
        """Count a computation, whether its answer could be used or not. Returns its dollars, None if unknown. O(1)."""
        return self._add(charge, lambda row: row.spent)

    def saved(self, charge: Charge) -> float | None:
        """Count an answer that came from the cache or from a computation that another caller pays for. As `spent`."""
        return self._add(charge, lambda row: row.saved)

    def rows(self) -> dict[Key, Row]:
        """Return all rows; a snapshot."""
        with self._lock:
            return {key: row.plus(_empty()) for key, row in self._rows.items()}

    def by(self, field: By) -> dict[str | None, Row]:
        """Return the sums per model, tenant or prompt; a snapshot."""
        sums: dict[str | None, Row] = {}
        for key, row in self.rows().items():
            name = getattr(key, field)
            sums[name] = sums[name].plus(row) if name in sums else row
        return sums

    def total(self) -> Row:
        """Return the sums over everything; a snapshot."""
        total = _empty()
        for row in self.rows().values():
            total = total.plus(row)
        return total

    def __iter__(self) -> Iterator[tuple[Key, Row]]:
        return iter(self.rows().items())

    def _add(self, charge: Charge, side: Callable[[Row], Totals]) -> float | None:
        dollars = self.prices.price(charge.usage, charge.priced)
        key = Key(charge.priced.model or "", charge.tenant, charge.prompt)
        with self._lock:
            row = self._rows.get(key)
            if row is None:
                if len(self._rows) >= self._max_rows:
                    key = Key(key.model, OTHERS, OTHERS)
                row = self._rows.setdefault(key, _empty())
            side(row).add(charge.usage, dollars)
        return dollars


def _empty() -> Row:
    return Row(Totals(), Totals())
