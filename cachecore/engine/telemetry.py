"""The reports of a cache: its counts, and the instruments and spans of OpenTelemetry.

A hit adds one to an integer and nothing else; the instruments are observable, so an application without an SDK pays
for nothing and one with an SDK pays when it collects. Keys, prompts, values and addresses are never attributes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Final

from cachecore.engine.counts import Counts
from cachecore.engine.metric_names import SCOPE

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter
    from opentelemetry.trace import Tracer

logger = logging.getLogger("cachecore")
_LOOK_EVERY: Final = 1.0
_NO_SPAN: Final = nullcontext()


class Telemetry:
    """The counts of one cache and the instruments that are written to as things happen.

    Implements the guard's observer (`recorder`, `backend_error`, `breaker_state`).
    """

    def __init__(self, cache: str, meter: Meter | None = None, *, counts: Counts | None = None) -> None:
        from opentelemetry import metrics, trace  # a quarter of the package's import: not before there is a cache

        from cachecore.engine.instruments import instruments_of

        self.counts = counts or Counts(cache)
        self._meter = meter
        self._instruments = instruments_of(meter or metrics.get_meter(SCOPE))
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
        from opentelemetry import trace

        self.tracing = not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)

    def span(self, name: str) -> AbstractContextManager[object]:
        """Return a context manager that makes a span of its block, if the application wants spans."""
        tracer = self.tracer()
        return _NO_SPAN if tracer is None else _traced(tracer, name)

    def factory(self, seconds: float, failed: bool) -> None:
        """Record the end of one call of a factory, counted in `factory_calls` as it began."""
        self.counts.factory_errors += failed
        self._instruments.factory_duration.record(seconds, {**self._attributes, "failed": failed})

    def stale_served(self, age: float) -> None:
        """Record for how many seconds a served answer had been stale."""
        self._instruments.stale_age.record(age, self._attributes)

    def recorder(self, operation: str) -> Callable[[float], object]:
        """Return the function that takes the seconds of each ended call of the store's `operation`."""
        return partial(self._instruments.backend_duration.record, attributes={"operation": operation})

    def backend_error(self, operation: str, reason: str) -> None:
        """Count one failed call of the store."""
        self.counts.backend_errors[operation, reason] += 1

    def breaker_state(self, partition: str, state: str) -> None:
        """Note the state of a partition's breaker."""
        self.counts.breakers[partition] = state


@lru_cache(maxsize=1)
def say_full() -> None:
    """Log, once in a process, why a store may stay full that refused a write for want of room."""
    logger.warning(
        "the store is full and takes nothing new. Answers with ttl=None are never evicted under volatile-* policies "
        "and noeviction: give each answer a ttl, or choose allkeys-lru"
    )


@contextmanager
def _traced(tracer: Tracer, name: str) -> Iterator[None]:
    from opentelemetry import trace

    # Not the SDK's own record of an exception: a provider's message may quote the prompt.
    with tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False) as span:
        try:
            yield
        except BaseException as error:
            span.set_attribute("error.type", type(error).__qualname__)
            span.set_status(trace.StatusCode.ERROR)
            raise
