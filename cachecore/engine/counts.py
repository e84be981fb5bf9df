"""The counters of a cache: plain integers, each of which costs an event one addition."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol


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
    """Lookups with a failed factory that no old answer could cover."""
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
    """The figures of a memory tier."""

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
    """Whether these are the counts of a view: memory and pending invalidations are in the metrics of its cache."""
    parts: dict[str, Counts] = field(default_factory=dict)
    """Counts of parts of this cache, such as its cached functions, by name; they are reported by themselves."""

    retire: Callable[[Counts], None] | None = None
    """Takes over the counts of a cache that is gone: exported totals never fall."""

    def __del__(self) -> None:
        if self.retire is not None:
            self.retire(self)

    def fold(self, other: Counts) -> None:
        """Add the counts of `other`."""
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
