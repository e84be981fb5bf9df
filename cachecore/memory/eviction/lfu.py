"""Least frequently used, as cachetools has it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

from cachetools import LFUCache

from cachecore.contract.eviction import TOUCHES_NOTED


class LfuPolicy:
    """LFU: the entry used least often since it came leaves first, the oldest of several. About 300 bytes per entry.

    Counts never decay, so a key that was popular once stays: for popularity that does not change.
    """

    __slots__ = ("_cache", "_touched", "touch")

    def __init__(self, capacity: int) -> None:
        self._cache: LFUCache[str, None] = LFUCache(maxsize=math.inf)  # the tier says when it is full
        # cachetools counts a use in Python and without a lock; noting it here takes one atomic C call.
        self._touched: deque[str] = deque(maxlen=TOUCHES_NOTED)
        self.touch: Callable[[str], object] = self._touched.append

    def add(self, key: str) -> None:
        """Count the first use of `key`."""
        self._apply_touches()
        self._cache[key] = None

    def evict(self) -> str:
        """Forget and return the key used least often."""
        self._apply_touches()
        return self._cache.popitem()[0]

    def discard(self, key: str) -> None:
        """Forget `key` and how often it was used. Raises KeyError if it is not here."""
        del self._cache[key]

    def clear(self) -> None:
        """Forget everything."""
        self._touched.clear()
        self._cache.clear()

    def __len__(self) -> int:
        return len(self._cache)

    def _apply_touches(self) -> None:
        while self._touched:
            self._cache.get(self._touched.popleft())
