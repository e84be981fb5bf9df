"""How often keys were asked for lately, in 16 bytes per entry of the cache, independent of the number of keys.

A count-min sketch: each key has a few counters, shared with others by accident; the smallest of them is the estimate,
so it is never too low. All are halved from time to time, so past popularity does not count for ever.
"""

from __future__ import annotations

from typing import Final

from xxhash import xxh3_64_intdigest

_COUNTERS_PER_ENTRY: Final = 16
_SMALLEST: Final = 1 << 8
_MOST: Final = 15
_HALVED: Final = bytes(count >> 1 for count in range(256))
_LIFE: Final = 10
"""Counts are halved after this many additions per entry."""


class FrequencySketch:
    """Estimates up to 15. `seed` decides which keys share counters, so that an attacker cannot choose them."""

    __slots__ = ("_additions", "_counters", "_mask", "_seed")

    def __init__(self, *, seed: int) -> None:
        self._seed = seed
        self._counters = bytearray(_SMALLEST)
        self._mask = _SMALLEST - 1
        self._additions = 0

    def add(self, key: str, entries: int) -> None:
        """Count `key` once, for a cache of so many entries now. O(1) amortised."""
        if entries * _COUNTERS_PER_ENTRY > len(self._counters):
            # Twice the same: every key finds its counts, and from now on shares them with half as many keys.
            self._counters = self._counters * 2
            self._mask = len(self._counters) - 1
        counters, mask = self._counters, self._mask
        digest = xxh3_64_intdigest(key.encode(), self._seed)
        first, second, third = digest & mask, (digest >> 20) & mask, (digest >> 40) & mask
        count = min(counters[first], counters[second], counters[third])
        if count < _MOST:
            # Only the smallest grow: the larger ones are larger because of other keys.
            for place in (first, second, third):
                if counters[place] == count:
                    counters[place] = count + 1
        self._additions += 1
        if self._additions > _LIFE * max(1, entries):
            self._counters = counters.translate(_HALVED)
            self._additions //= 2

    def of(self, key: str) -> int:
        """Return about how often `key` was counted lately; rather too high than too low."""
        counters, mask = self._counters, self._mask
        digest = xxh3_64_intdigest(key.encode(), self._seed)
        return min(counters[digest & mask], counters[(digest >> 20) & mask], counters[(digest >> 40) & mask])

    def clear(self) -> None:
        """Forget all counts."""
        self._counters = bytearray(_SMALLEST)
        self._mask = _SMALLEST - 1
        self._additions = 0
