"""One computation: its key, its factory, the flight that waits for it, and the batch that it belongs to, if any."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

from cachecore.contract.options import Policy
from cachecore.engine.flights.claim import Claim
from cachecore.engine.flights.flight import Flight
from cachecore.engine.flights.loop_state import LoopState
from cachecore.engine.freshness import longest_life
from cachecore.engine.scope import Question, Scope
from cachecore.engine.store_read import StoreRead

T = TypeVar("T")

Factory = Callable[[], Awaitable[Any]]
ABSENT: Final = object()
"""The value of a key that the factory of a batch left out."""


class Batch(Protocol):
    """The computations of one batch, as one of them sees it."""

    async def value(self, computation: Computation) -> tuple[Any, float]:
        """Return the value that the call of the factory for several keys has for this one, and the call's seconds."""

    async def outwait(self, computation: Computation, wait: Awaitable[T]) -> T | None:
        """Return the result of a wait for another process.

        Returns None only once each other key of the batch is answered or has waited in vain, too.
        """


@dataclass(slots=True, eq=False)
class Computation:
    """One key, its factory and the flight of its callers."""

    question: Question
    flight: Flight
    snapshot: StoreRead
    """The latest read of the key: the caller's at first, read again before the factory runs."""
    factory: Callable[..., Awaitable[Any]]
    behind: bool = False
    """Whether it runs behind an answer already given: then it waits for no other process."""
    newer_than: float = -math.inf
    """Only an entry created later than this (store's Unix seconds) spares the computation; infinity: none does."""

    alone: bool = False
    """Whether it answers one caller, outside flight and claim, because its value cannot be copied."""
    batch: Batch | None = None
    """The batch that it belongs to: then `factory` takes the names of several keys, and the batch calls it."""

    claim: Claim | None = None
    """Our claim on the key."""
    abandoned: bytes | None = None
    """The claim of a holder that fell silent: it may be taken over."""
    scope: Scope = field(init=False)
    """The view whose answer it is."""
    state: LoopState = field(init=False)
    """The state of the loop that it runs in."""
    policy: Policy = field(init=False)
    life: float | None = field(init=False)
    """Seconds that its entry can live at most; None: for ever."""
    kept: bool = False
    """Whether a copy was kept in memory as it was written, with the feed to tell of every later change."""

    def __post_init__(self) -> None:
        self.scope, self.state = self.question.scope, self.question.state
        self.policy = policy = self.scope.policy
        self.life = longest_life(policy, self.question.lasts)

    @property
    def waits(self) -> bool:
        """Whether it waits for a computation of another process, rather than taking its place at once."""
        return self.scope.engine.store.lease_ttl is not None and self.newer_than != math.inf

    @property
    def unshared(self) -> bool:
        """Whether values of this factory did not encode lately, so that waiting for another's is in vain."""
        scope = self.scope
        return scope.engine.unshared.lately(scope.keys.namespace, self.factory)

    @property
    def base(self) -> bytes | None:
        """The bytes that the answer replaces: our claim, or those that were read."""
        claim = self.claim
        return claim.value if claim is not None and claim.in_place else self.snapshot.raw

    @property
    def refused(self) -> str | None:
        """Why the answer may not be stored, as far as that is known before there is one."""
        if self.snapshot.error is not None:
            return "store"
        if not self.snapshot.replaceable:
            return "newer"
        unclaimed = self.snapshot.claimable and (self.claim is None or self.base is None)
        return "changed" if self.flight.superseded or unclaimed else None

    @property
    def shared(self) -> bool:
        """Whether a copy of the answer may be needed: by a joined caller, or by a later one, as for a refresh."""
        alone = not self.behind and self.newer_than < math.inf and self.flight.stream is None
        return not alone or self.flight.joins > 1

    @property
    def prompt(self) -> bool:
        """Whether callers may have the answer before it is stored: others find our claim until then, nothing older."""
        return self.claim is not None and self.claim.in_place and self.newer_than < math.inf
