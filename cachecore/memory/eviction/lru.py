"""Least recently used: the entry unread for longest leaves first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable


class LruPolicy:
    """Exact LRU. About 110 bytes per entry beside its key.

    Best where the latest keys are asked for again. One pass over more keys than fit empties it of everything
    useful; `adaptive` does not have that weakness.
    """

    __slots__ = ("_order", "add", "touch")

    def __init__(self, capacity: int) -> None:
        self._order: OrderedDict[str, None] = OrderedDict()  # least recently used first
        # One C call is atomic under the interpreter's lock, so a hit needs no lock of its own.
        self.touch: Callable[[str], object] = self._order.move_to_end
        # A key that is not there becomes the most recently used.
        self.add: Callable[[str], None] = self._order.setdefault

    def evict(self) -> str:
        """Forget and return the least recently used key."""
        return self._order.popitem(last=False)[0]

    def discard(self, key: str) -> None:
        """Forget `key`. Raises KeyError if it is not here."""
        del self._order[key]

    def clear(self) -> None:
        """Forget everything."""
        self._order.clear()

    def __len__(self) -> int:
        return len(self._order)
