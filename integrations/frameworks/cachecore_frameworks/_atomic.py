"""Writes that depend on the value that is there, as caches of web frameworks have them: exact among all processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cachecore import Computed, InvalidationPending, Lookup, SyncCache


def change(cache: SyncCache[Any], key: str, new: Callable[[Lookup[Any]], Computed[Any] | None]) -> Computed[Any] | None:
    """Store what `new` makes of the value that is there, and return that; None of `new` leaves all as it is.

    `new` is called again with the current value where another write came between. Raises InvalidationPending while
    the store is away.
    """
    while True:
        known = cache.lookup(key)
        made = new(known)
        if made is None or cache.set(key, made, since=known, required=True):
            return made


def add(cache: SyncCache[Any], key: str, value: Any, *, ttl: float | None) -> bool:
    """Store a value if there is none, for `ttl` seconds or for ever; return whether it was stored.

    A `ttl` of 0 or less stores nothing and returns whether there was no value. False while the store is away.
    """
    if ttl is not None and ttl <= 0:
        return not cache.exists(key)
    try:
        return change(cache, key, lambda known: None if known.found else Computed(value, ttl=ttl)) is not None
    except InvalidationPending:
        return False
