"""W-TinyLFU: a key gets in only if it was asked for more often than the one that would leave.

Einziger, Friedman, Manes: TinyLFU: a highly efficient cache admission policy, ACM ToS 2017. New keys pass through a
window of one hundredth of the whole; a key that leaves it must beat the first key of the main region by frequency.
The main region is a segmented LRU. Frequencies are estimated for all keys, also those that were never kept.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from random import Random
from typing import Final

from cachecore.contract.eviction import TOUCHES_NOTED
from cachecore.memory.eviction.frequency import FrequencySketch

_WINDOW_PART: Final = 100
_PROTECTED_PERCENT: Final = 80


class TinyLfuPolicy:
    """W-TinyLFU. About 150 bytes per entry beside its key, frequencies included; no ghosts.

    Strong on stable popularity and on loops, where it keeps its entries. Slow to follow new popularity: `adaptive`
    knows when to prefer others.
    """

    __slots__ = ("_candidate", "_frequency", "_probation", "_protected", "_touched", "_window", "touch")

    def __init__(self, capacity: int, *, chance: Random | None = None) -> None:
        self._window: OrderedDict[str, None] = OrderedDict()  # each least recently used first
        self._probation: OrderedDict[str, None] = OrderedDict()
        self._protected: OrderedDict[str, None] = OrderedDict()
        self._candidate: str | None = None  # the key that left the window last, and has not been weighed yet
        self._frequency = FrequencySketch(seed=(chance or Random()).getrandbits(64))  # noqa: S311 - no secret
        self._touched: deque[str] = deque(maxlen=TOUCHES_NOTED)
        self.touch: Callable[[str], object] = self._touched.append

    def add(self, key: str) -> None:
        """Let `key` into the window."""
        self._apply_touches()
        self._frequency.add(key, len(self))
        self._window[key] = None
        if len(self._window) > max(1, len(self) // _WINDOW_PART):
            self._candidate = self._window.popitem(last=False)[0]
            self._probation[self._candidate] = None

    def evict(self) -> str:
        """Forget and return the less frequent of the key that just left the window and the one unused for longest."""
        self._apply_touches()
        candidate, self._candidate = self._candidate, None
        if candidate not in self._probation:
            candidate = None
        victim = self._first_of_main()
        if victim == candidate and self._protected:
            victim = next(iter(self._protected))
        if victim is None:
            return self._window.popitem(last=False)[0]
        if candidate is not None and self._frequency.of(candidate) <= self._frequency.of(victim):
            victim = candidate
        self._forget(victim)
        return victim

    def discard(self, key: str) -> None:
        """Forget that `key` is here; how often it was asked for is still known. Raises KeyError if not."""
        self._forget(key)

    def clear(self) -> None:
        """Forget everything."""
        for region in (self._window, self._probation, self._protected):
            region.clear()
        self._candidate = None
        self._frequency.clear()
        self._touched.clear()

    def __len__(self) -> int:
        return len(self._window) + len(self._probation) + len(self._protected)

    def _first_of_main(self) -> str | None:
        return next(iter(self._probation or self._protected), None)

    def _forget(self, key: str) -> None:
        for region in (self._probation, self._protected):
            if key in region:
                del region[key]
                return
        del self._window[key]

    def _apply_touches(self) -> None:
        touched, window, probation, protected = self._touched, self._window, self._probation, self._protected
        while touched:
            key = touched.popleft()
            if key in protected:
                protected.move_to_end(key)
            elif key in probation:
                del probation[key]
                protected[key] = None
                if len(protected) * 100 > (len(probation) + len(protected)) * _PROTECTED_PERCENT:
                    probation[protected.popitem(last=False)[0]] = None
            elif key in window:
                window.move_to_end(key)
            else:
                continue  # it has left since
            self._frequency.add(key, len(self))
