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
    lasts: float | None
    """The ttl of an answer that is computed or set: the call's, or the policy's; seconds, None for ever."""


def question(scope: Scope, state: LoopState, key: str, tags: Sequence[str] = (), ttl: Ttl = UNSET) -> Question:
    """Return the question for `key` with the call's `tags`. Raises OptionsError for tags that are none."""
    lasts = scope.policy.ttl if isinstance(ttl, Unset) else ttl
    return Question(scope, state, key, scope.tagset(key, tags), lasts)
