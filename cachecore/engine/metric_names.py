"""The metrics by name: unit and description. docs/telemetry.md has the same table."""

from __future__ import annotations

from typing import Final

SCOPE: Final = "cachecore"

METRICS: Final[dict[str, tuple[str, str]]] = {
    "cachecore.lookups": ("{lookup}", "Answers asked for, by outcome and tier"),
    "cachecore.factory.duration": ("s", "Time that factories took"),
    "cachecore.backend.duration": ("s", "Time that answered calls of the store took"),
    "cachecore.backend.errors": ("{call}", "Failed calls of the store, by operation and reason"),
    "cachecore.breaker.state": ("{state}", "State of the store's breaker by partition: 0 closed, 1 half open, 2 open"),
    "cachecore.entries.stored": ("{entry}", "Answers stored"),
    "cachecore.entries.not_stored": ("{entry}", "Answers computed and returned, but not stored, by reason"),
    "cachecore.entries.rejected": ("{entry}", "Stored bytes that were not served, by reason"),
    "cachecore.flight.joined": ("{lookup}", "Lookups that shared another caller's computation"),
    "cachecore.lease.waits": ("{computation}", "Computations that waited for another process"),
    "cachecore.invalidations": ("{invalidation}", "Invalidations, by kind"),
    "cachecore.invalidations.pending": ("{invalidation}", "Invalidations that the store has not acknowledged"),
    "cachecore.l1.bytes": ("By", "Bytes of the copies in memory"),
    "cachecore.l1.entries": ("{entry}", "Copies in memory"),
    "cachecore.l1.evictions": ("{entry}", "Copies that made room for others"),
    "cachecore.stale.age": ("s", "How long past their ttl stale answers were served"),
}
"""Name to unit and description."""

BOUNDARIES: Final[dict[str, list[float]]] = {
    "cachecore.factory.duration": [0.01, 0.03, 0.1, 0.3, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0],
    "cachecore.backend.duration": [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.05, 0.1, 0.3, 0.5, 1.0],
    "cachecore.stale.age": [1.0, 10.0, 60.0, 300.0, 1800.0, 3600.0, 21_600.0, 86_400.0, 259_200.0, 604_800.0],
}
"""Seconds at which histograms divide: a call of a model takes seconds, one of a store milliseconds, staleness hours."""
