"""The OpenTelemetry instruments of a meter: counts are read when it collects, durations are written as they happen."""

from __future__ import annotations

import operator
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

from opentelemetry.metrics import CallbackOptions, Histogram, Meter, Observation

from cachecore.contract.forks import in_child
from cachecore.engine.counts import Counts, Sizes
from cachecore.engine.metric_names import BOUNDARIES, METRICS, SCOPE

BREAKER_STATES: Final = {"closed": 0, "half_open": 1, "open": 2}


class Instruments:
    """One set of instruments per meter, however many caches report through it."""

    def __init__(self, meter: Meter) -> None:
        self._live: weakref.WeakSet[Counts] = weakref.WeakSet()
        self._gone: dict[str, Counts] = {}  # the counts of caches that are gone, by name
        self._lock = threading.RLock()  # reentrant: a garbage collection within may end a cache
        self.factory_duration = _histogram(meter, "factory.duration")
        self.backend_duration = _histogram(meter, "backend.duration")
        self.stale_age = _histogram(meter, "stale.age")

        def counter(name: str, read: Callable[[Counts], Iterable[Observation]]) -> None:
            full = f"{SCOPE}.{name}"
            meter.create_observable_counter(full, [self._callback(read)], *METRICS[full])

        def gauge(
            name: str,
            read: Callable[[Counts], Iterable[Observation]],
            joined: Callable[[float, float], float] = operator.add,
        ) -> None:
            full = f"{SCOPE}.{name}"
            meter.create_observable_gauge(full, [self._callback(read, joined)], *METRICS[full])

        counter("lookups", _lookups)
        counter("entries.rejected", lambda c: _by("reason", c.rejected, c.cache))
        counter("invalidations", lambda c: _by("kind", c.invalidated, c.cache))
        counter("flight.joined", lambda c: [Observation(c.joined, {"cache": c.cache})])
        counter("lease.waits", lambda c: [Observation(c.lease_waits, {"cache": c.cache})])
        counter("entries.stored", lambda c: [Observation(c.stored, {"cache": c.cache})])
        counter("entries.not_stored", lambda c: _by("reason", c.not_stored, c.cache))
        counter("backend.errors", _backend_errors)
        gauge("invalidations.pending", lambda c: [] if c.shared else [Observation(c.pending(), {"cache": c.cache})])
        gauge("l1.bytes", lambda c: _of_tier(c, lambda tier: tier.bytes))
        gauge("l1.entries", lambda c: _of_tier(c, len))
        counter("l1.evictions", lambda c: _of_tier(c, lambda tier: tier.evictions))
        gauge("breaker.state", _breakers, max)

    def add(self, counts: Counts) -> None:
        """Report `counts`, and their totals when their cache is gone."""
        with self._lock:
            self._live.add(counts)
            counts.retire = self._retire

    def _retire(self, counts: Counts) -> None:
        with self._lock:
            self._live.discard(counts)
            self._gone.setdefault(counts.cache, Counts(counts.cache)).fold(counts)

    def after_fork(self) -> None:
        """Count from zero in a child process; earlier counts are the parent's to report."""
        self._lock = threading.RLock()
        self._gone.clear()
        for counts in list(self._live):
            counts.begin_anew()

    def _callback(
        self,
        read: Callable[[Counts], Iterable[Observation]],
        joined: Callable[[float, float], float] = operator.add,
    ) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_: CallbackOptions) -> Iterable[Observation]:
            with self._lock:
                live = [*self._live, *self._gone.values()]
            # Caches of one name are one series: two observations of the same attributes would replace each other.
            sums: dict[tuple[tuple[str, object], ...], float] = {}
            for counts in live:
                for seen in read(counts):
                    attributes = tuple(sorted((seen.attributes or {}).items()))
                    before = sums.get(attributes)
                    sums[attributes] = seen.value if before is None else joined(before, seen.value)
            return [Observation(value, dict(attributes)) for attributes, value in sums.items()]  # type: ignore[arg-type]  # the attributes went in as they come out

        return observe


def _histogram(meter: Meter, name: str) -> Histogram:
    full = f"{SCOPE}.{name}"
    return meter.create_histogram(full, *METRICS[full], explicit_bucket_boundaries_advisory=BOUNDARIES[full])


def _of_tier(counts: Counts, read: Callable[[Sizes], int]) -> list[Observation]:
    """Return the figures of a cache's memory; none for a view, which shares the memory of its cache."""
    tier = None if counts.shared else counts.tier
    return [] if tier is None else [Observation(read(tier), {"cache": counts.cache})]


def _lookups(counts: Counts) -> Iterable[Observation]:
    cache = counts.cache
    return [
        Observation(counts.hits_l1, {"outcome": "hit", "tier": "l1", "cache": cache}),
        Observation(counts.hits_l2, {"outcome": "hit", "tier": "l2", "cache": cache}),
        Observation(counts.stale, {"outcome": "stale", "tier": "l2", "cache": cache}),
        Observation(counts.misses, {"outcome": "miss", "tier": "none", "cache": cache}),
        Observation(counts.computed, {"outcome": "computed", "tier": "none", "cache": cache}),
        Observation(counts.rescued, {"outcome": "rescued", "tier": "l2", "cache": cache}),
        Observation(counts.failed, {"outcome": "failed", "tier": "none", "cache": cache}),
        Observation(counts.bypassed, {"outcome": "bypass", "tier": "none", "cache": cache}),
    ]


def _by(label: str, counted: Counter[str], cache: str) -> Iterable[Observation]:
    return [Observation(number, {label: name, "cache": cache}) for name, number in list(counted.items())]


def _backend_errors(counts: Counts) -> Iterable[Observation]:
    return [
        Observation(number, {"operation": operation, "reason": reason})
        for (operation, reason), number in list(counts.backend_errors.items())
    ]


def _breakers(counts: Counts) -> Iterable[Observation]:
    return [
        Observation(BREAKER_STATES.get(state, 2), {"partition": partition, "cache": counts.cache})
        for partition, state in list(counts.breakers.items())
    ]


_by_meter: weakref.WeakKeyDictionary[Meter, Instruments] = weakref.WeakKeyDictionary()
_by_meter_lock = threading.Lock()


def _after_fork() -> None:
    global _by_meter_lock
    _by_meter_lock = threading.Lock()
    for instruments in list(_by_meter.values()):
        instruments.after_fork()


in_child(_after_fork)


def instruments_of(meter: Meter) -> Instruments:
    """Return the instruments of a meter, which all caches that report through it share."""
    with _by_meter_lock:
        instruments = _by_meter.get(meter)
        if instruments is None:
            instruments = _by_meter[meter] = Instruments(meter)
        return instruments
