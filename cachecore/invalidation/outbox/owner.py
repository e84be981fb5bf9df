"""The cache that an outbox belongs to, as far as the outbox asks for it."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from contextlib import AbstractAsyncContextManager
from typing import Protocol


class Deadlines(Protocol):
    """Makes the deadline of one explicit invalidation."""

    def within(self, operation: str, *, keys: int = ...) -> AbstractAsyncContextManager[object]:
        """Return a context that raises `BackendTimeout` if the work in it, for so many `keys`, takes too long."""


class Owner(Protocol):
    """The cache that the invalidations of an outbox are for."""

    chance: random.Random
    monotonic: Callable[[], float]

    @property
    def explicit(self) -> Deadlines:
        """Return the store for explicit invalidations."""

    def delivered(self, keys: Collection[str], stamp_keys: Collection[str]) -> None:
        """Take note that the store has acknowledged the invalidation of these keys of entries and of stamps."""
