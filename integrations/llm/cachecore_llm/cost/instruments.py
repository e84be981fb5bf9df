"""The OpenTelemetry instruments of a meter, which all ledgers that report through it share.

Two instruments of one name would hide each other's counts, so that the counts of all ledgers are added up here. The
counts of a ledger stay when it is gone: a counter never falls.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable
from typing import Final

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from cachecore.contract.forks import in_child
from cachecore_llm.cost.ledger import Ledger, Row, Rows, empty_row

SCOPE: Final = "cachecore.llm"
TOKEN_BUCKETS: Final = tuple(4**power for power in range(14))
SECOND_BUCKETS: Final = tuple(0.01 * 2**power for power in range(14))
"""Both as the conventions advise."""

Read = Callable[[Row], tuple[float, float]]
"""Takes one number from the spending and one from the saving of a row."""


class Instruments:
    """One set for each meter; `instruments_of` returns it."""

    def __init__(self, meter: Meter) -> None:
        self._ledgers: weakref.WeakSet[Ledger] = weakref.WeakSet()
        self._gone: dict[str, Row] = {}
        self._lock = threading.RLock()  # reentrant: a garbage collection within may end a ledger
        self.tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            "{token}",
            "Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=TOKEN_BUCKETS,
        )
        self.seconds = meter.create_histogram(
            "gen_ai.client.operation.duration",
            "s",
            "GenAI operation duration.",
            explicit_bucket_boundaries_advisory=SECOND_BUCKETS,
        )
        for name, unit, text, read in (
            ("cost", "{USD}", "Dollars spent at providers and saved by the cache, where prices are known.", _dollars),
            ("answers", "{answer}", "Answers spent at providers and saved by the cache.", _calls),
            ("unpriced", "{answer}", "Answers whose price is unknown, and so missing from the cost.", _unpriced),
        ):
            meter.create_observable_counter(f"{SCOPE}.{name}", [self._callback(read)], unit, text)

    def add(self, ledger: Ledger) -> None:
        """Report `ledger`, and its totals when it is gone."""
        with self._lock:
            if ledger not in self._ledgers:
                self._ledgers.add(ledger)
                ledger.at_end(self._retire)

    def begin_anew(self) -> None:
        """Count from zero in a child process; the parent reports its own counts."""
        self._lock = threading.RLock()
        self._gone.clear()
        for ledger in list(self._ledgers):
            ledger.begin_anew()

    def _retire(self, rows: Rows) -> None:
        with self._lock:
            for key, row in rows.items():
                self._gone[key.model] = self._gone.get(key.model, empty_row()).plus(row)

    def _callback(self, read: Read) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_: CallbackOptions) -> Iterable[Observation]:
            with self._lock:
                sums, ledgers = dict(self._gone), list(self._ledgers)
            for ledger in ledgers:
                for key, row in ledger.rows().items():
                    sums[key.model] = sums.get(key.model, empty_row()).plus(row)
            return [
                Observation(value, {"kind": kind, "gen_ai.response.model": model or "unknown"})
                for model, row in sums.items()
                for kind, value in zip(("spent", "saved"), read(row), strict=True)
            ]

        return observe


_by_meter: weakref.WeakKeyDictionary[Meter, Instruments] = weakref.WeakKeyDictionary()
_by_meter_lock = threading.Lock()


def instruments_of(meter: Meter) -> Instruments:
    """Return the instruments of `meter`."""
    with _by_meter_lock:
        found = _by_meter.get(meter)
        if found is None:
            found = _by_meter[meter] = Instruments(meter)
        return found


def _after_fork() -> None:
    global _by_meter_lock
    _by_meter_lock = threading.Lock()
    for instruments in list(_by_meter.values()):
        instruments.begin_anew()


in_child(_after_fork)


def _dollars(row: Row) -> tuple[float, float]:
    return row.spent.dollars, row.saved.dollars


def _calls(row: Row) -> tuple[float, float]:
    return row.spent.calls, row.saved.calls


def _unpriced(row: Row) -> tuple[float, float]:
    return row.spent.unpriced, row.saved.unpriced
