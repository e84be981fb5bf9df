"""L1, the memory tier: slots under keys, bounded by bytes and by entries.

What is decided here: that reading takes no lock, how bytes are counted, and how expired slots that nobody reads leave.
Which slot makes room is the policy's decision (`cachecore.eviction`); what a slot means is the cache's.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Final, Generic, TypeVar

from cachecore.contract.clock import Clock, SystemClock
from cachecore.contract.eviction import PolicyFactory

T = TypeVar("T")

ENTRY_OVERHEAD_BYTES: Final = 550
"""What an entry costs beside its value and the characters of its key: measured, CPython 3.11 to 3.13, any policy."""

_SWEEP_STEP: Final = 2
"""Keys looked at per put. Over 1, so that a sweep overtakes a tier that grows."""


class MemoryTier(Generic[T]):
    """Slots under keys, in this process; the least useful leave when there are too many.

    A slot is anything but None. Any number of threads may use them. A reader never waits: `get` is one dict read and
    one note to the policy, both atomic in themselves. Writers hold one lock, so the bounds hold whenever it is free.

    Args:
        max_bytes: bound on values, keys and `ENTRY_OVERHEAD_BYTES` per entry together; 0 keeps nothing.
        max_entries: bound on their number; 0 keeps nothing.
        policy: makes the eviction policy for that many entries.
        deadline_of: returns the monotonic second from which a slot is useless. If given, each `put` also looks at two
            other slots and drops those that are past it, so that what nobody asks for again does not stay for ever.
        clock: what deadlines are compared with.
    """

    __slots__ = (
        "__weakref__",
        "_bytes",
        "_clock",
        "_deadline_of",
        "_evictions",
        "_lock",
        "_max_bytes",
        "_max_entries",
        "_policy",
        "_sizes",
        "_slots",
        "_sweep",
        "_touch",
    )

    def __init__(
        self,
        *,
        max_bytes: int,
        max_entries: int,
        policy: PolicyFactory,
        deadline_of: Callable[[T], float] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._max_bytes = max_bytes
        self._max_entries = max_entries
        self._deadline_of = deadline_of
        self._clock = clock or SystemClock()
        # Reentrant: dropping a slot may run a finaliser, and that may use this very cache.
        self._lock = threading.RLock()
        self._slots: dict[str, T] = {}  # written under _lock, read without
        self._sizes: dict[str, int] = {}  # guarded by _lock, as is all below
        self._bytes = 0
        self._evictions = 0
        self._policy = policy(max(1, max_entries))
        self._touch = self._policy.touch
        self._sweep: Iterator[str] = iter(())
        _tiers.add(self)

    def __repr__(self) -> str:
        return f"MemoryTier(entries={len(self)}, bytes={self.bytes})"

    def get(self, key: str) -> T | None:
        """Return the slot of `key`, counted as a use, or None. O(1), no lock, about 0.1 µs."""
        slot = self._slots.get(key)
        if slot is not None:
            try:
                self._touch(key)
            except KeyError:  # a writer took it out since the line above; this reader was just in time
                pass
        return slot

    @property
    def reader(self) -> tuple[Callable[[str], T | None], Callable[[str], object]]:
        """The two calls that `get` consists of, look and touch, for one caller that cannot afford a third.

        The touch is due after each look that found something, and may raise KeyError as the policy's does.
        """
        return self._slots.get, self._touch

    def put(self, key: str, slot: T, size: int) -> None:
        """Keep `slot` under `key` in place of what was there, and make room for it. O(1) amortised.

        `size` is the bytes of the value alone: key and overhead are added here. What is larger than the whole tier is
        not kept, and neither is what it would have replaced. A replacement counts as a use.
        """
        size += len(key) + ENTRY_OVERHEAD_BYTES
        if size > self._max_bytes or self._max_entries < 1:
            self.discard(key)
            return
        dropped: list[T | None] = []  # freed after the lock, with whatever their finalisers do
        with self._lock:
            before = self._sizes.get(key)
            dropped.append(self._slots.get(key))
            self._slots[key] = slot
            self._sizes[key] = size
            if before is None:
                self._bytes += size
                self._policy.add(key)
            else:
                self._bytes += size - before
                self._touch(key)
            if self._deadline_of is not None:
                self._sweep_some(self._deadline_of, dropped)
            while self._bytes > self._max_bytes or len(self._slots) > self._max_entries:
                dropped.append(self._take_out(self._policy.evict()))
                self._evictions += 1

    def discard(self, key: str) -> bool:
        """Drop the slot of `key`; return whether there was one."""
        with self._lock:
            if key not in self._slots:
                return False
            slot = self._take_out(key)
            self._policy.discard(key)
        del slot  # outside the lock, as in put
        return True

    def clear(self) -> None:
        """Drop every slot, and what the policy learned."""
        with self._lock:
            dropped = dict(self._slots)  # freed after the lock, as in put
            self._slots.clear()  # the dict itself stays: readers hold on to it
            self._sizes.clear()
            self._bytes = 0
            self._policy.clear()
            self._sweep = iter(())
        del dropped

    def __len__(self) -> int:
        return len(self._slots)

    def __iter__(self) -> Iterator[str]:
        """Iterate over the keys of this moment, in no particular order. O(n)."""
        return iter(list(self._slots))

    def __contains__(self, key: object) -> bool:
        """Tell whether there is a slot, without counting it as a use."""
        return key in self._slots

    @property
    def bytes(self) -> int:
        """What all entries cost now, in bytes; never over `max_bytes`."""
        return self._bytes

    @property
    def evictions(self) -> int:
        """How many entries have left because the tier was full."""
        return self._evictions

    def _take_out(self, key: str) -> T:
        self._bytes -= self._sizes.pop(key)
        return self._slots.pop(key)

    def _sweep_some(self, deadline_of: Callable[[T], float], dropped: list[T | None]) -> None:
        now = self._clock.monotonic()
        for _ in range(_SWEEP_STEP):
            key = next(self._sweep, None)
            if key is None:
                # A copy of the keys once per round: a thousandth of what the puts of that round cost, and no timer,
                # heap or list that replaced and deleted keys would have to be kept out of.
                self._sweep = iter(list(self._slots))
                return
            slot = self._slots.get(key)
            if slot is not None and deadline_of(slot) <= now:
                dropped.append(self._take_out(key))
                self._policy.discard(key)

    def _after_fork(self) -> None:
        """Make the tier usable in a forked child: no thread is left that could release a lock it held."""
        if self._lock.acquire(blocking=False):
            self._lock.release()
            return
        self._lock = threading.RLock()
        self.clear()  # half written, so worthless


_tiers: weakref.WeakSet[MemoryTier[Any]] = weakref.WeakSet()


def _after_fork() -> None:
    for tier in list(_tiers):
        tier._after_fork()  # noqa: SLF001 - this module's own class


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_after_fork)
