"""S3-FIFO: three queues, so that keys asked for once do not push out keys that are asked for again.

Yang, Zhang, Qiu, Yue, Rashmi: FIFO queues are all you need for cache eviction, SOSP 2023. New keys pass through a small
queue, a tenth of the whole; those used there go on to the main queue, the others leave and are remembered for a while
as ghosts; a ghost that returns goes straight to the main queue. Nothing is reordered on a hit.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

from cachecore.contract.eviction import TOUCHES_NOTED

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

    __slots__ = ("_ghosts", "_main", "_newest_is_small", "_small", "_touched", "touch")

    def __init__(self, capacity: int) -> None:
        self._small: OrderedDict[str, int] = OrderedDict()  # key -> uses since it came, oldest first
        self._main: OrderedDict[str, int] = OrderedDict()
        self._ghosts: OrderedDict[int, None] = OrderedDict()  # hashes of keys that left, oldest first
        self._touched: deque[str] = deque(maxlen=TOUCHES_NOTED)
        self._newest_is_small = False  # whether the key added last waits in the small queue, and nothing left since
        self.touch: Callable[[str], object] = self._touched.append

    def add(self, key: str) -> None:
        """Queue `key`: behind the main queue if it was here lately, else behind the small one."""
        self._apply_touches()
        ghost = hash(key)
        if ghost in self._ghosts:
            del self._ghosts[ghost]
            self._main[key] = 0
        else:
            self._small[key] = 0
            self._newest_is_small = True
            return
        self._newest_is_small = False

    def evict(self) -> str:
        """Forget and return the first unused key: of the small queue if it has its part, else of the main one."""
        self._apply_touches()
        small, main = self._small, self._main
        room = len(small) + len(main) - 1  # the newest key comes in the place of the one that leaves
        share = max(1, room // _SMALL_PART)
        waiting = len(small) - self._newest_is_small
        self._newest_is_small = False
        if waiting >= share or not main:
            while small:
                key, uses = small.popitem(last=False)
                if uses < _USES_TO_STAY:
                    self._remember(key, room - share)
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

    def clear(self) -> None:
        """Forget everything."""
        self._small.clear()
        self._main.clear()
        self._ghosts.clear()
        self._newest_is_small = False
        self._touched.clear()

    def __len__(self) -> int:
        return len(self._small) + len(self._main)

    def _remember(self, key: str, room: int) -> None:
        self._ghosts[hash(key)] = None
        while len(self._ghosts) > max(1, room):
            self._ghosts.popitem(last=False)

    def _apply_touches(self) -> None:
        touched, small, main = self._touched, self._small, self._main
        while touched:
            key = touched.popleft()
            for queue in (small, main):
                uses = queue.get(key)
                if uses is not None:
                    if uses < _MOST_USES:
                        queue[key] = uses + 1
                    break
