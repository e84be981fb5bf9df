"""S3-FIFO: three queues, so that keys asked for once do not push out keys that are asked for again.

Yang, Zhang, Qiu, Yue, Rashmi: FIFO queues are all you need for cache eviction, SOSP 2023. New keys pass through a small
queue, a tenth of the whole; those used there go on to the main queue, the others leave and are remembered for a while
as ghosts; a ghost that returns goes straight to the main queue. Nothing is reordered on a hit.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

_SMALL_PART: Final = 10
"""The small queue is one tenth of the whole; the ghosts are as many as the rest."""

_MOST_USES: Final = 3
_USES_TO_STAY: Final = 2
"""Uses in the small queue that earn a place in the main one; one repeat is often part of the same burst."""


class S3FifoPolicy:
    """S3-FIFO. About 110 bytes per entry beside its key, and 150 per ghost (a 64-bit hash), of which there are fewer.

    Strong on skewed popularity and on scans. Weak where each key is asked for again soon and then never more, and on
    recency alone: `adaptive` knows when to prefer others.
    """

    __slots__ = ("_ghosts", "_main", "_newest_is_small", "_small", "touch", "touched")

    def __init__(self, capacity: int) -> None:
        self._small: OrderedDict[str, int] = OrderedDict()  # key -> uses since it came, oldest first
        self._main: OrderedDict[str, int] = OrderedDict()
        self._ghosts: OrderedDict[int, None] = OrderedDict()  # hashes of keys that left, oldest first
        self._newest_is_small = False  # whether the key added last waits in the small queue, and nothing left since
        self.touched: deque[str] = deque()
        """Hits that `apply_touches` has not seen. Unbounded: the tier empties it when there are many."""
        self.touch: Callable[[str], object] = self.touched.append

    def add(self, key: str) -> None:
        """Queue `key`: behind the main queue if it was here lately, else behind the small one."""
        if self.touched:
            self.apply_touches()
        ghosts, ghost = self._ghosts, hash(key)
        if ghost in ghosts:
            del ghosts[ghost]
            self._main[key] = 0
            self._newest_is_small = False
        else:
            self._small[key] = 0
            self._newest_is_small = True

    def evict(self) -> str:
        """Forget and return the first unused key: of the small queue if it has its part, else of the main one."""
        if self.touched:
            self.apply_touches()
        small, main = self._small, self._main
        waiting = len(small)
        room = waiting + len(main) - 1  # the newest key comes in the place of the one that leaves
        share = room // _SMALL_PART or 1
        if self._newest_is_small:
            waiting -= 1
            self._newest_is_small = False
        if waiting >= share or not main:
            while small:
                key, uses = small.popitem(last=False)
                if uses < _USES_TO_STAY:
                    ghosts = self._ghosts  # as _remember, in place: a call would be a tenth of an eviction
                    ghosts[hash(key)] = None
                    while len(ghosts) > room - share and len(ghosts) > 1:
                        ghosts.popitem(last=False)
                    return key
                main[key] = 0
        while True:
            key, uses = main.popitem(last=False)
            if not uses:
                return key
            main[key] = uses - 1

    def discard(self, key: str) -> None:
        """Forget that `key` is here; if it returns soon, it is known to be wanted. Raises KeyError if it is not."""
        if self._small.pop(key, None) is None:
            del self._main[key]
        self._remember(key, len(self))

    def use(self, key: str) -> None:
        """Note a hit at once. The lock is held."""
        queue = self._small
        uses = queue.get(key)
        if uses is None:
            queue = self._main
            uses = queue.get(key)
            if uses is None:
                return  # it has left since
        if uses < _MOST_USES:
            queue[key] = uses + 1

    def apply_touches(self) -> None:
        """Note the hits of `touched` and empty it. The lock is held."""
        take, small, main = self.touched.popleft, self._small, self._main
        try:
            while True:
                key = take()
                queue = main if key in main else small
                uses = queue.get(key, _MOST_USES)  # as many: it has left since
                if uses < _MOST_USES:
                    queue[key] = uses + 1
        except IndexError:  # empty; not asked before, because a finaliser may run this method in its midst
            pass

    def clear(self) -> None:
        """Forget everything."""
        self._small.clear()
        self._main.clear()
        self._ghosts.clear()
        self._newest_is_small = False
        self.touched.clear()

    def __len__(self) -> int:
        return len(self._small) + len(self._main)

    def _remember(self, key: str, room: int) -> None:
        ghosts = self._ghosts
        ghosts[hash(key)] = None
        while len(ghosts) > room and len(ghosts) > 1:
            ghosts.popitem(last=False)
