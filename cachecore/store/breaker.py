"""When to stop asking a store that fails, and when to try again. Pure: time and chance are arguments.

    closed ──── failures in a row ────▶ open ──── back-off over ────▶ half_open
       ▲                                 ▲                                │
       │                                 └───────── probe failed ─────────┤
       └────────────────────────── probe succeeded ───────────────────────┘

Every change of state begins a new generation. An admitted call carries the generation as its ticket, and the outcome of
a call from an earlier one changes nothing: a call that was under way when the store fell ill cannot say it is well.

A breaker that late answers opened refuses reads, which have something better to do than to wait, but lets explicit
writes through: they have time. One that failures to connect opened refuses everything, and opens at the first of them:
whether a store can be reached is known after one attempt.
"""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Callable
from typing import Final, Literal

from cachecore.contract.options import StoreOptions

State = Literal["closed", "open", "half_open"]

EXPLICIT: Final = -1
"""The ticket of an explicit call that an open breaker lets through: its success says nothing."""
UNREACHABLE: Final = frozenset({"refused", "dns", "connect_timeout", "max_clients", "auth", "tls", "no_database"})
"""Reasons of errors that say that the store could not be connected to."""

_SHORTEST: Final = 0.75  # a back-off is drawn from this part of it up to all of it: never beyond the cap


class Breaker:
    """The breaker of one partition. Safe to share between loops and threads.

    `changed` is told each new state and the reason of the last failure, under the breaker's lock, so in order; it must
    not call the breaker.
    """

    def __init__(self, options: StoreOptions, chance: random.Random, changed: Callable[[State, str], None]) -> None:
        self._limit = options.breaker_failures
        self._first = options.breaker_backoff
        self._longest = options.breaker_backoff_max
        self._chance = chance
        self._changed = changed
        # Written under the lock only. A call that is admitted or succeeds in the closed state reads and does not lock.
        self._lock = threading.Lock()
        self.state: State = "closed"
        """As of the last event; an open breaker becomes half-open only when a probe is let through."""
        self.ticket: int | None = 0
        """The ticket of any call while the breaker is closed; None: `admit` says whether one is let through."""
        self.calm = True
        """Whether the breaker is closed and the last call succeeded: then `succeeded` has nothing to do."""
        self._generation = 0
        self._failures = 0  # in a row
        self._backoff = self._first
        self._probe_at = math.inf
        self._reason = "timeout"  # of the last failure
        self._away = False  # whether a failure to connect has opened it

    def admit(self, explicit: bool = False) -> int | None:
        """Return the ticket of a call, or None if it must not be made. Lock-free."""
        ticket = self.ticket  # a breaker that opens in the next moment voids it
        if ticket is not None:
            return ticket
        return EXPLICIT if explicit and not self._away else None

    def probe(self, now: float) -> int | None:
        """Return the ticket of the one call that finds out whether the store is back, if it is time for it.

        A probe that says nothing (its loop was closed) is replaced once the longest back-off is over.
        """
        if now < self._probe_at:
            return None
        with self._lock:
            if now < self._probe_at:  # another thread was faster
                return None
            self._become("half_open", now + self._longest)
            return self._generation

    def succeeded(self, ticket: int) -> None:
        """The store answered the call of `ticket`."""
        if self.calm:
            return
        with self._lock:
            if ticket != self._generation:
                return
            self._failures = 0
            self.calm = self.state == "closed"
            if self.state != "closed":
                self._backoff = self._first
                self._become("closed", math.inf)

    def failed(self, ticket: int, now: float, reason: str = "timeout") -> None:
        """The call of `ticket` failed for `reason`, which says that the store is sick."""
        with self._lock:
            unreachable = reason in UNREACHABLE
            if ticket == EXPLICIT and unreachable and self.state != "closed":
                self._away = True
            if ticket != self._generation:
                return
            self._failures += 1
            self.calm = False
            self._reason = reason
            if self.state == "half_open":
                self._backoff = min(self._backoff * 2, self._longest)
            elif self._failures < self._limit and not unreachable:
                return
            self._away = unreachable
            self._become("open", now + min(self._backoff, self._longest) * self._chance.uniform(_SHORTEST, 1.0))

    def undecided(self, ticket: int, now: float) -> None:
        """The call of `ticket` says nothing about the store; if it was the probe, the next may be made at once."""
        if self.state == "closed":
            return
        with self._lock:
            if ticket == self._generation:
                self._probe_at = now

    def hint(self, now: float) -> None:
        """The store has shown a sign of life elsewhere: let the next call probe it, however long the back-off."""
        if self.state == "closed":
            return
        with self._lock:
            if self.state == "open":
                self._backoff = self._first
                self._probe_at = now

    def _become(self, state: State, probe_at: float) -> None:
        announce = state != self.state
        self.state = state
        self._probe_at = probe_at
        self._generation += 1
        self._failures = 0
        self.calm = state == "closed"
        self.ticket = self._generation if state == "closed" else None
        if announce:
            self._changed(state, self._reason)
