"""From the order in which keys are asked to hit rates: by size of memory and by ttl, exactly, in one pass each.

A store that keeps what was used last answers a request if what was used since the last request for its key fits. So the
bytes used in between, of each request, give the rate of every size at once (Mattson and others, 1970).
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence


def reuse_bytes(keys: Sequence[int], sizes: Sequence[int]) -> array[float]:
    """Return of each request the bytes that a store by last use must hold to answer it; infinity for a first request.

    O(n log n). `sizes` are the bytes of each request's answer.
    """
    count = len(keys)
    tree = [0] * (count + 1)  # of bytes by the place of their last use
    last: dict[int, int] = {}
    found = array("d")
    total = 0
    for place, (key, size) in enumerate(zip(keys, sizes, strict=True)):
        before = last.get(key)
        if before is None:
            found.append(float("inf"))
        else:
            found.append(total - _sum(tree, before) + sizes[before])
            _add(tree, before, -sizes[before])
            total -= sizes[before]
        _add(tree, place, size)
        total += size
        last[key] = place
    return found


def _add(tree: list[int], place: int, value: int) -> None:
    at = place + 1
    while at < len(tree):
        tree[at] += value
        at += at & -at


def _sum(tree: list[int], place: int) -> int:
    """Return the bytes at places up to `place`, itself among them."""
    at, total = place + 1, 0
    while at:
        total += tree[at]
        at -= at & -at
    return total


def hits_with_ttl(keys: Sequence[int], times: Sequence[float], ttl: float) -> bytearray:
    """Return of each request 1 if a store with that ttl, and room for all, answers it. `times` are seconds, rising."""
    stored: dict[int, float] = {}
    hits = bytearray(len(keys))
    for place, (key, now) in enumerate(zip(keys, times, strict=True)):
        made = stored.get(key)
        if made is not None and now - made < ttl:
            hits[place] = 1
        else:
            stored[key] = now
    return hits


def repeats(keys: Sequence[int]) -> int:
    """Return how many of `keys` were there before."""
    return len(keys) - len(set(keys))
