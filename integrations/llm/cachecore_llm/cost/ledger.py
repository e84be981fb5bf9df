"""Calls, tokens and dollars that were spent at providers and saved by the cache, per model, tenant and prompt.

A computation is spent once, however many callers waited for it: answers, also refused ones, aborted streams, refreshes
behind a stale answer. Each hit and each caller that joined saves the cost of the stored answer. Unknown prices are
counted as unknown, never as 0.
"""

from __future__ import annotations

import threading
import weakref
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
    """The tokens of one answer, and where they are counted."""

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
    """Of the calls with a known price."""
    unpriced: int = 0
    """Calls with an unknown price: `dollars` is too low by these."""
    uncounted: int = 0
    """Of these: calls with an unknown number of tokens."""

    def add(self, usage: UsageFacts | None, dollars: float | None, times: int = 1) -> None:
        """Add a call, so many times."""
        self.calls += times
        if usage is None:
            self.uncounted += times
        else:
            self.input_tokens += times * usage.input_tokens
            self.cached_input_tokens += times * usage.cached_input_tokens
            self.output_tokens += times * usage.output_tokens
            self.reasoning_tokens += times * usage.reasoning_tokens
        if dollars is None:
            self.unpriced += times
        else:
            self.dollars += times * dollars

    def copied(self) -> Totals:
        """Return the same sums. Written out: a reader copies ten thousand while writers wait."""
        return Totals(
            self.calls,
            self.input_tokens,
            self.cached_input_tokens,
            self.output_tokens,
            self.reasoning_tokens,
            self.dollars,
            self.unpriced,
            self.uncounted,
        )

    def plus(self, other: Totals) -> Totals:
        """Return the sums of both."""
        return Totals(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))

    def minus(self, other: Totals) -> Totals:
        """Return the sums since the snapshot `other`."""
        return Totals(*(getattr(self, name) - getattr(other, name) for name in self.__slots__))


@dataclass(slots=True)
class Row:
    """Sums of spending and saving, of one row or of several together."""

    spent: Totals
    saved: Totals

    def plus(self, other: Row) -> Row:
        """Return the sums of both."""
        return Row(self.spent.plus(other.spent), self.saved.plus(other.saved))


Rows = dict[Key, Row]


class Ledger:
    """Counts spending and saving. Any thread may call at any time.

    Args:
        prices: where prices come from; None: from the catalogue, if it is installed.
        max_rows: rows that are kept; further ones are counted per model, under tenant and prompt `(others)`.
    """

    def __init__(self, prices: Prices | None = None, *, max_rows: int = MAX_ROWS) -> None:
        self.prices = prices or Prices()
        self._max_rows = max_rows
        self._rows: Rows = {}
        self._collectors: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    def spent(self, charge: Charge) -> float | None:
        """Count a computation, whether its answer could be used or not. Returns its dollars, None if unknown. O(1)."""
        return self._add(charge, lambda row: row.spent)

    def saved(self, charge: Charge, times: int = 1) -> float | None:
        """Count an answer that came from the cache, or from another caller's computation, so many times. As `spent`."""
        return self._add(charge, lambda row: row.saved, times)

    def rows(self) -> Rows:
        """Return all rows; a snapshot."""
        for settle in self._collectors:
            settle()
        with self._lock:
            return {key: Row(row.spent.copied(), row.saved.copied()) for key, row in self._rows.items()}

    def by(self, field: By) -> dict[str | None, Row]:
        """Return the sums per model, tenant or prompt; a snapshot."""
        sums: dict[str | None, Row] = {}
        for key, row in self.rows().items():
            name = getattr(key, field)
            sums[name] = sums[name].plus(row) if name in sums else row
        return sums

    def total(self) -> Row:
        """Return the sums over everything; a snapshot."""
        total = empty_row()
        for row in self.rows().values():
            total = total.plus(row)
        return total

    def __iter__(self) -> Iterator[tuple[Key, Row]]:
        return iter(self.rows().items())

    def collect_from(self, settle: Callable[[], None]) -> None:
        """Let `settle` be called before rows are read: a writer that keeps counts of its own adds them then."""
        self._collectors.append(settle)

    def at_end(self, told: Callable[[Rows], object]) -> None:
        """Let `told` have the rows when this ledger is gone."""
        weakref.finalize(self, told, self._rows).atexit = False

    def begin_anew(self) -> None:
        """Count from zero in a child process."""
        self._lock = threading.Lock()
        for settle in self._collectors:
            settle()  # the parent counts these
        self._rows.clear()

    def _add(self, charge: Charge, side: Callable[[Row], Totals], times: int = 1) -> float | None:
        dollars = self.prices.price(charge.usage, charge.priced)
        key = Key(charge.priced.model or "", charge.tenant, charge.prompt)
        with self._lock:
            row = self._rows.get(key)
            if row is None:
                if len(self._rows) >= self._max_rows:
                    key = Key(key.model, OTHERS, OTHERS)
                row = self._rows.setdefault(key, empty_row())
            side(row).add(charge.usage, dollars, times)
        return dollars


def empty_row() -> Row:
    """Return a row in which nothing was counted."""
    return Row(Totals(), Totals())
