"""Whether an answer still holds: pure decisions about times, no clock and no chance of their own.

The words are those of RFC 5861 and RFC 9111. Early refresh is XFetch (Vattani, Chierichetti, Lowenstein: "Optimal
Probabilistic Cache Stampede Prevention", VLDB 2015), scaled by the entry's own compute time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from cachecore.contract.options import Policy

State = Literal["fresh", "stale", "rescue", "dead"]
"""`fresh`: serve. `stale`: serve while a new one is computed. `rescue`: serve only if computing a new one failed.
`dead`: never serve."""

TTL_SLACK: Final = 1.0
"""Seconds for which the bytes outlive the entry, so that no rounding in a store shortens its life."""
MAX_CLOCK_SKEW: Final = 1.0
"""Seconds an entry's `created` may lie in the future; more means that its writer's clock cannot be trusted."""


class Times(Protocol):
    """The times of an entry: Unix seconds of the store's clock, None for ever."""

    @property
    def created(self) -> float:
        """Return when it was made."""

    @property
    def compute_time(self) -> float:
        """Return the seconds it took to compute."""

    @property
    def fresh_until(self) -> float | None:
        """Return when it stops being fresh."""

    @property
    def dead_until(self) -> float | None:
        """Return from when nothing may serve it."""


@dataclass(frozen=True, slots=True)
class Lifetime:
    """When an entry stops being fresh and when nothing may serve it any more; None for ever."""

    fresh_until: float | None
    dead_until: float | None


def decide(times: Times, now: float, policy: Policy) -> State:
    """Return how an entry may be used at `now`.

    Args:
        times: the entry's own times.
        now: Unix seconds of the same clock.
        policy: its `max_age` and stale windows count. An entry never outlives its own `dead_until` for any reader.
    """
    fresh_until, dead_until = times.fresh_until, times.dead_until
    if dead_until is not None and not now < dead_until:  # a NaN is dead
        return "dead"
    if policy.max_age is not None:
        oldest = times.created + policy.max_age
        fresh_until = oldest if fresh_until is None else min(fresh_until, oldest)
    if fresh_until is None:
        return "fresh"
    if now < fresh_until:
        return "fresh"
    if now < fresh_until + policy.stale_while_revalidate:
        return "stale"
    if now < fresh_until + policy.stale_if_error:
        return "rescue"
    return "dead"


def refresh_at(times: Times, chance: float, beta: float) -> float:
    """Return the moment from which an early refresh is due: -inf never comes out, +inf means never.

    XFetch: refresh once `now - compute_time * beta * ln(chance) >= fresh_until`.
    """
    if times.fresh_until is None or beta <= 0 or times.compute_time <= 0 or chance >= 1.0:
        return math.inf
    return times.fresh_until + times.compute_time * beta * math.log(chance)


def lifetime(now: float, ttl: float | None, chance: float, policy: Policy) -> Lifetime:
    """Return the times of an entry made at `now` with `ttl` seconds; `chance` in [0, 1) draws the jitter.

    Jitter only shortens: a ttl may be the time that a signed URL or a token has left, and nothing is served past it.
    """
    if ttl is None:
        return Lifetime(None, None)
    fresh_until = now + ttl * (1.0 - policy.jitter * chance)
    return Lifetime(fresh_until, fresh_until + stale_window(policy))


def expired(now: float, policy: Policy) -> Lifetime:
    """Return the times of an entry that is declared stale at `now` and may still be served as such."""
    return Lifetime(now, now + stale_window(policy))


def longest_life(policy: Policy, ttl: float | None) -> float | None:
    """Return the seconds that an entry of `ttl` can live at most, stale windows included; jitter only shortens it."""
    return None if ttl is None else ttl + stale_window(policy) + TTL_SLACK


def stale_window(policy: Policy) -> float:
    """Return for how many seconds past its freshness an entry is kept at all."""
    return max(policy.stale_while_revalidate, policy.stale_if_error, policy.keep_stale or 0.0)
