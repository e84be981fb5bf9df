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

    def digest(self, key: str) -> int:
        """Return the number under which `key` is counted: 64 bits, the same for the life of the sketch."""
        return xxh3_64_intdigest(key.encode(), self._seed)

    def add(self, digest: int, entries: int) -> None:
        """Count a key once, for a cache of so many entries now. O(1) amortised."""
        counters, mask = self._counters, self._mask
        if entries * _COUNTERS_PER_ENTRY > mask + 1:
            # Twice the same: every key finds its counts, and from now on shares them with half as many keys.
            self._counters = counters = counters * 2
            self._mask = mask = len(counters) - 1
        first, second, third = digest & mask, (digest >> 20) & mask, (digest >> 40) & mask
        one, two, three = counters[first], counters[second], counters[third]
        count = one  # not min: comparisons take a third of its time
        if two < count:
            count = two
        if three < count:
            count = three
        if count < _MOST:
            # Only the smallest grow: the larger ones are larger because of other keys.
            if one == count:
                counters[first] = count + 1
            if two == count:
                counters[second] = count + 1
            if three == count:
                counters[third] = count + 1
        self._additions += 1
        if self._additions > _LIFE * (entries or 1):
            self._counters = counters.translate(_HALVED)
            self._additions //= 2

    def more(self, digest: int, other: int) -> bool:
        """Return whether a key was counted more often lately than another, by estimates that may be too high."""
        counters, mask = self._counters, self._mask
        count, two, three = counters[digest & mask], counters[(digest >> 20) & mask], counters[(digest >> 40) & mask]
        if two < count:
            count = two
        if three < count:
            count = three
        # The smallest of the other's, but one that is less than `count` tells enough.
        return (
            counters[other & mask] < count
            or counters[(other >> 20) & mask] < count
            or counters[(other >> 40) & mask] < count
        )

    def clear(self) -> None:
        """Forget all counts."""
        self._counters = bytearray(_SMALLEST)
        self._mask = _SMALLEST - 1
        self._additions = 0
