"""The parts that a cache is built of and given."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from cachecore.contract.clock import Clock
from cachecore.contract.options import StoreOptions
from cachecore.contract.protocols import CacheBackend
from cachecore.contract.tokens import random_token


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenStore:
    """The store of a cache."""

    backend: CacheBackend
    owned: bool
    """Whether the cache made the backend, and so closes it."""
    prefix: str
    """The prefix of all keys."""
    options: StoreOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where a cache has time, chance and tokens from: arguments, so that tests and simulations decide them."""

    clock: Clock
    chance: random.Random
    token: Callable[[], bytes] = random_token
    """Returns 16 bytes that no other call returns."""
