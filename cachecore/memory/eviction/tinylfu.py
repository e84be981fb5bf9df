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
    """W-TinyLFU. About 170 bytes per entry beside its key, frequencies included; no ghosts.

    Strong on stable popularity and on loops, where it keeps its entries. Slow to follow new popularity: `adaptive`
    knows when to prefer others.
    """

    __slots__ = ("_candidate", "_frequency", "_probation", "_protected", "_touched", "_window", "touch")

    def __init__(self, capacity: int, *, chance: Random | None = None) -> None:
        # Key -> its digest in the sketch, each least recently used first.
        self._window: OrderedDict[str, int] = OrderedDict()
        self._probation: OrderedDict[str, int] = OrderedDict()
        self._protected: OrderedDict[str, int] = OrderedDict()
        self._candidate: str | None = None  # the key that left the window last, and has not been weighed yet
        self._frequency = FrequencySketch(seed=(chance or Random()).getrandbits(64))  # noqa: S311 - no secret
        self._touched: deque[str] = deque(maxlen=TOUCHES_NOTED)
        self.touch: Callable[[str], object] = self._touched.append

    def add(self, key: str) -> None:
        """Let `key` into the window."""
        if self._touched:
            self._apply_touches()
        window, probation, frequency = self._window, self._probation, self._frequency
        digest = frequency.digest(key)
        entries = len(window) + len(probation) + len(self._protected)
        frequency.add(digest, entries)
        window[key] = digest
        waiting = len(window)
        if waiting > 1 and waiting > (entries + 1) // _WINDOW_PART:
            self._candidate, digest = window.popitem(last=False)
            probation[self._candidate] = digest

    def evict(self) -> str:
        """Forget and return the less frequent of the key that just left the window and the one unused for longest."""
        if self._touched:
            self._apply_touches()
        probation, protected = self._probation, self._protected
        candidate, self._candidate = self._candidate, None
        region = probation or protected
        if not region:
            return self._window.popitem(last=False)[0]
        if candidate is None or candidate not in probation:
            return region.popitem(last=False)[0]
        victim = next(iter(region))
        if victim == candidate and protected:
            region, victim = protected, next(iter(protected))
        if not self._frequency.more(probation[candidate], region[victim]):
            region, victim = probation, candidate
        del region[victim]
        return victim

    def use(self, key: str) -> None:
        """Note a hit at once. The lock is held."""
        window, probation, protected = self._window, self._probation, self._protected
        if key in protected:
            protected.move_to_end(key)
            digest = protected[key]
        elif key in probation:
            protected[key] = digest = probation.pop(key)
            if len(protected) * 100 > (len(probation) + len(protected)) * _PROTECTED_PERCENT:
                demoted, its_digest = protected.popitem(last=False)
                probation[demoted] = its_digest
        elif key in window:
            window.move_to_end(key)
            digest = window[key]
        else:
            return  # it has left since
        self._frequency.add(digest, len(window) + len(probation) + len(protected))

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

    def _forget(self, key: str) -> None:
        for region in (self._probation, self._protected):
            if key in region:
                del region[key]
                return
        del self._window[key]

    def _apply_touches(self) -> None:
        touched = self._touched
        while touched:
            self.use(touched.popleft())
