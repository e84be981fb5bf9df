"""One key as one call asks for it; made once for each key and handed on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cachecore.contract.results import UNSET, Unset
from cachecore.engine.flights.loop_state import LoopState
from cachecore.engine.scope import Scope, TagSet

Ttl = float | Unset | None
"""Seconds, None for ever, UNSET for the ttl of the policy."""


@dataclass(slots=True, eq=False)
class Question:
    """A key, the tags that its entry must carry, and the view and event loop that ask for it."""

    scope: Scope
    state: LoopState
    key: str
    tagset: TagSet
    ttl: Ttl = UNSET
    """The ttl of the call, for an answer that is computed or set."""

    @property
    def concerns(self) -> tuple[str, ...]:
        """The stamp keys and the kind of value that a flight must have to be joined."""
        return self.scope.concerns(self.tagset)

    @property
    def lasts(self) -> float | None:
        """The ttl of the call, or of the policy if the call gave none; seconds, None for ever."""
        return self.scope.policy.ttl if isinstance(self.ttl, Unset) else self.ttl


def question(scope: Scope, state: LoopState, key: str, tags: Sequence[str] = (), ttl: Ttl = UNSET) -> Question:
    """Return the question for `key` with the call's `tags`. Raises OptionsError for tags that are none."""
    return Question(scope, state, key, scope.tagset(key, tags), ttl)
