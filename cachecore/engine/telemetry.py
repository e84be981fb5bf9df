"""What is counted: plain integers here, read by OpenTelemetry when it asks.

A hit adds one to an integer and nothing else; the instruments are observable, so an application without an SDK pays
for nothing and one with an SDK pays when it collects. Keys, prompts, values and addresses are never attributes.
"""

from __future__ import annotations

import logging
import operator
import os
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Protocol

from opentelemetry import metrics, trace
from opentelemetry.metrics import CallbackOptions, Histogram, Meter, Observation
from opentelemetry.trace import ProxyTracerProvider, StatusCode, Tracer

from cachecore.engine.metric_names import BOUNDARIES, METRICS, SCOPE

logger = logging.getLogger("cachecore")
_LOOK_EVERY: Final = 1.0
_NO_SPAN: Final = nullcontext()
BREAKER_STATES: Final = {"closed": 0, "half_open": 1, "open": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """The counts of one cache since it was built; a snapshot."""

    hits_l1: int
    hits_l2: int
    stale: int
    misses: int
    """Lookups that found nothing to serve and had no factory."""
    computed: int
    """Lookups answered by a factory, their own or the one they joined."""
    rescued: int
    failed: int
    """Lookups whose factory failed and that no old answer could cover."""
    bypassed: int
    joined: int
    """Of `computed` and `rescued`: those that waited for another caller's factory."""
    factory_calls: int
    """Calls that have begun."""
    factory_errors: int
    lease_waits: int
    stored: int
    not_stored: dict[str, int]
    """Given to `set` or computed, but not stored, by reason: `admission`, `admit_error`, `ttl`, `tags`, `encoding`;
    over a bound: `size`, `elements`, `too_many_tags`, `header`; or `store`, `changed`, `newer`, `late`."""
    rejected: dict[str, int]
    """Stored bytes that were not served, by reason."""
    invalidated: dict[str, int]
    """Invalidations by kind: `tags`, `prefix`, `all`, `delete`, `expire`."""
    backend_errors: dict[str, int]
    """Failures of the store, by `operation:reason`."""
    pending: int
    """Invalidations that the store has not acknowledged yet."""
    l1_entries: int
    l1_bytes: int
    l1_evictions: int

    @property
    def hits(self) -> int:
        """Lookups answered from the cache on purpose: fresh, or stale within the window asked for."""
        return self.hits_l1 + self.hits_l2 + self.stale

    @property
    def lookups(self) -> int:
        """All lookups, bypassed ones left out."""
        return self.hits + self.misses + self.computed + self.rescued + self.failed

    @property
    def hit_rate(self) -> float:
        """Hits per lookup, 0.0 to 1.0; 0.0 before the first."""
        return self.hits / self.lookups if self.lookups else 0.0


class Sizes(Protocol):
    """What a memory tier tells of itself."""

    def __len__(self) -> int: ...

    @property
    def bytes(self) -> int:
        """Return the bytes it holds."""

    @property
    def evictions(self) -> int:
        """Return how many copies had to make room so far."""


@dataclass(slots=True, weakref_slot=True, eq=False)
class Counts:
    """The integers themselves. Added to without a lock: `+= 1` is not interrupted between its steps in CPython."""

    cache: str
    hits_l1: int = 0
    hits_l2: int = 0
    stale: int = 0
    misses: int = 0
    computed: int = 0
    rescued: int = 0
    failed: int = 0
    bypassed: int = 0
    joined: int = 0
    factory_calls: int = 0
    factory_errors: int = 0
    lease_waits: int = 0
    stored: int = 0
    not_stored: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    invalidated: Counter[str] = field(default_factory=Counter)
    backend_errors: Counter[tuple[str, str]] = field(default_factory=Counter)
    breakers: dict[str, str] = field(default_factory=dict)
    pending: Callable[[], int] = int
    tier: Sizes | None = None
    shared: bool = False
    """Whether memory and what is pending are another cache's, whose metrics have them: this one is a view's."""
    parts: dict[str, Counts] = field(default_factory=dict)
    """Counts of parts of this cache, such as its cached functions, by name; they are reported by themselves."""

    retire: Callable[[Counts], None] | None = None
    """Takes over what was counted when the cache is gone: totals that are exported never fall."""

    def __del__(self) -> None:
        if self.retire is not None:
            self.retire(self)

    def fold(self, other: Counts) -> None:
        """Add what `other` has counted."""
        for name in _NUMBERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in (*_BY_REASON, "backend_errors"):
            getattr(self, name).update(getattr(other, name))

    def begin_anew(self) -> None:
        """Count from zero, as in a forked child, which has asked for nothing yet."""
        for name in _NUMBERS:
            setattr(self, name, 0)
        for name in (*_BY_REASON, "backend_errors", "breakers"):
            getattr(self, name).clear()

    def snapshot(self) -> Stats:
        """Return the counts as they are now, those of the parts included."""
        tier, all_counts = self.tier, [self, *self.parts.values()]
        numbers: dict[str, Any] = {name: sum(getattr(one, name) for one in all_counts) for name in _NUMBERS}
        by_reason: dict[str, Any] = {
            name: dict(sum((getattr(one, name) for one in all_counts), Counter[str]())) for name in _BY_REASON
        }
        return Stats(
            **numbers,
            **by_reason,
            backend_errors={f"{operation}:{reason}": n for (operation, reason), n in self.backend_errors.items()},
            pending=self.pending(),
            l1_entries=len(tier) if tier is not None else 0,
            l1_bytes=tier.bytes if tier is not None else 0,
            l1_evictions=tier.evictions if tier is not None else 0,
        )


_NUMBERS: Final = (
    "hits_l1", "hits_l2", "stale", "misses", "computed", "rescued", "failed", "bypassed", "joined", "factory_calls",
    "factory_errors", "lease_waits", "stored",
)  # fmt: skip
_BY_REASON: Final = ("not_stored", "rejected", "invalidated")


class Telemetry:
    """The counts of one cache and the instruments that are written to as things happen.

    Implements what the guard reports to (`backend_call`, `backend_error`, `breaker_state`).
    """

    def __init__(self, cache: str, meter: Meter | None = None, *, counts: Counts | None = None) -> None:
        self.counts = counts or Counts(cache)
        self._meter = meter
        self._instruments = _instruments_of(meter or metrics.get_meter(SCOPE))
        self._instruments.add(self.counts)
        self._attributes = {"cache": cache}
        self._tracer: Tracer = trace.get_tracer(SCOPE)
        self.tracing = False
        """Whether the application wants spans, as far as this was looked for: `look_at` says when it is time again."""
        self.look_at = 0.0
        self.look(time.monotonic())

    def named(self, cache: str) -> Telemetry:
        """Return telemetry of its own for a part of this cache, reported under another name."""
        counts = Counts(cache, pending=self.counts.pending, tier=self.counts.tier, shared=True)
        return Telemetry(cache, self._meter, counts=counts)

    def part(self, name: str) -> Telemetry:
        """Return telemetry of a part of this cache: reported as this cache's, counted apart and in its `snapshot`."""
        counts = self.counts.parts.setdefault(name, Counts(self.counts.cache, shared=True))
        return Telemetry(self.counts.cache, self._meter, counts=counts)

    def tracer(self) -> Tracer | None:
        """Return the tracer, or None while the application has set no tracer provider: then spans cost nothing.

        Looked up once a second: asking OpenTelemetry reads the environment, which takes longer than a hit.
        """
        now = time.monotonic()
        if now >= self.look_at:
            self.look(now)
        return self._tracer if self.tracing else None

    def look(self, now: float) -> None:
        """See whether the application wants spans, as of the monotonic second `now`."""
        self.look_at = now + _LOOK_EVERY
        self.tracing = not isinstance(trace.get_tracer_provider(), ProxyTracerProvider)

    def span(self, name: str) -> AbstractContextManager[object]:
        """Return what makes a span of the block it is used for, if the application wants spans."""
        tracer = self.tracer()
        return _NO_SPAN if tracer is None else _traced(tracer, name)

    def factory(self, seconds: float, failed: bool) -> None:
        """Record the end of one call of a factory, counted in `factory_calls` as it began."""
        self.counts.factory_errors += failed
        self._instruments.factory_duration.record(seconds, {**self._attributes, "failed": failed})

    def stale_served(self, age: float) -> None:
        """Record for how many seconds a served answer had been stale."""
        self._instruments.stale_age.record(age, self._attributes)

    def backend_call(self, operation: str, seconds: float) -> None:
        """Record one answered call of the store."""
        self._instruments.backend_duration.record(seconds, {"operation": operation})

    def backend_error(self, operation: str, reason: str) -> None:
        """Count one failed call of the store."""
        self.counts.backend_errors[operation, reason] += 1

    def breaker_state(self, partition: str, state: str) -> None:
        """Note the state of a partition's breaker."""
        self.counts.breakers[partition] = state


@lru_cache(maxsize=1)
def say_full() -> None:
    """Log, once in a process, what keeps a store full that refused a write for want of room."""
    logger.warning(
        "the store is full and takes nothing new. Answers with ttl=None are never evicted under volatile-* policies "
        "and noeviction: give each answer a ttl, or choose allkeys-lru"
    )


@contextmanager
def _traced(tracer: Tracer, name: str) -> Iterator[None]:
    # Not the SDK's own record of an exception: a provider's message may quote the prompt.
    with tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False) as span:
        try:
            yield
        except BaseException as error:
            span.set_attribute("error.type", type(error).__qualname__)
            span.set_status(StatusCode.ERROR)
            raise


class _Instruments:
    """One set of instruments per meter, however many caches report through it."""

    def __init__(self, meter: Meter) -> None:
        self._live: weakref.WeakSet[Counts] = weakref.WeakSet()
        self._gone: dict[str, Counts] = {}  # what caches that are gone have counted, by name
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
        """Count from zero in a child process; what its parent has counted is the parent's to report."""
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
    """Return what the memory of a cache tells; nothing for a view, whose memory is that of its cache."""
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


_by_meter: weakref.WeakKeyDictionary[Meter, _Instruments] = weakref.WeakKeyDictionary()
_by_meter_lock = threading.Lock()


def _after_fork() -> None:
    global _by_meter_lock
    _by_meter_lock = threading.Lock()
    for instruments in list(_by_meter.values()):
        instruments.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _instruments_of(meter: Meter) -> _Instruments:
    with _by_meter_lock:
        found = _by_meter.get(meter)
        if found is None:
            found = _by_meter[meter] = _Instruments(meter)
        return found
