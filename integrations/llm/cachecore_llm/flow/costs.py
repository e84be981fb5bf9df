"""Where the flow says which answers were paid for, and which were not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cachecore_llm.flow.asked import Asked
from cachecore_llm.flow.stored import StoredAnswer

Told = Callable[[Asked, StoredAnswer], None]


def _nothing(asked: Asked, stored: StoredAnswer) -> None:
    """Say nothing."""


@dataclass(frozen=True, slots=True)
class Costs:
    """Told of each answer that a provider made, and of each that a caller got without one."""

    spent: Told = _nothing
    """Once for each answer that was made, also if it was refused, or made behind a stale one."""
    saved: Told = _nothing
    """Once for each hit, each answer that was stale or similar, and each caller that waited for another's answer."""
